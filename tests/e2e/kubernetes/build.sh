#!/bin/sh
# build.sh: Kubernetes 1.20.2 out of Debian's source package, the newest that is complete with all it needs: the
# control plane, kubelet and kube-proxy, compiled offline and kept in $MILLHAND_KUBERNETES, by default
# ~/.cache/millhand-kubernetes. Prints that folder. It takes 5 to 10 minutes on two cores, and nothing once it is there.
set -eu
. "$(dirname "$0")/../../real/packages.sh"
kept=${MILLHAND_KUBERNETES:-${XDG_CACHE_HOME:-$HOME/.cache}/millhand-kubernetes}
programs='kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy'

is_complete() {
    for program in $programs; do [ -x "$kept/bin/$program" ] || return 1; done
}

# source_into FOLDER: by apt with lists of its own, so that this machine's stay as they are.
source_into() {
    mkdir -p "$1/lists/partial" "$1/cache" "$1/parts"
    for list in /etc/apt/sources.list.d/*.sources; do
        [ ! -e "$list" ] || sed 's/^Types:.*/Types: deb-src/' "$list" >"$1/parts/${list##*/}"
    done
    if [ -s /etc/apt/sources.list ]; then
        sed -n 's/^deb /deb-src /p' /etc/apt/sources.list >"$1/parts/main.list"
    fi
    cat >"$1/apt.conf" <<EOF
Dir::Etc::SourceList "/dev/null";
Dir::Etc::SourceParts "$1/parts";
Dir::State::Lists "$1/lists";
Dir::Cache "$1/cache";
APT::Sandbox::User "root";
EOF
    (
        cd "$1"
        APT_CONFIG=$1/apt.conf
        export APT_CONFIG
        apt-get update -qq && apt-get source -qq --download-only kubernetes
        dpkg-source --no-check -x kubernetes_*.dsc source
    ) >&2
}

# compile FOLDER: in a GOPATH, because what is vendored is not what go.mod names.
compile() {
    GOPATH=$1/go GOCACHE=$1/gocache GO111MODULE=off GOPROXY=off CGO_ENABLED=0
    export GOPATH GOCACHE GO111MODULE GOPROXY CGO_ENABLED
    mkdir -p "$GOPATH/src/k8s.io"
    mv "$1/source" "$GOPATH/src/k8s.io/kubernetes"
    cd "$GOPATH/src/k8s.io/kubernetes"
    generate "$1"
    flags='-s -w'
    for package in component-base client-go/pkg; do
        flags="$flags -X k8s.io/kubernetes/vendor/k8s.io/$package/version.gitVersion=v1.20.2"
        flags="$flags -X k8s.io/kubernetes/vendor/k8s.io/$package/version.gitMajor=1"
        flags="$flags -X k8s.io/kubernetes/vendor/k8s.io/$package/version.gitMinor=20"
    done
    for program in $programs; do
        [ ! -x "$kept/bin/$program" ] || continue
        echo "building $program" >&2
        go build -ldflags "$flags" -o "$1/$program" "k8s.io/kubernetes/cmd/$program"
        mv "$1/$program" "$kept/bin/$program"
    done
}

# generate FOLDER: the one file that Debian leaves out, what the API server says of its types.
generate() {
    go build -o "$1/openapi-gen" k8s.io/kubernetes/vendor/k8s.io/kube-openapi/cmd/openapi-gen
    marked=$(grep -rlE '^// \+k8s:openapi-gen=true' --include='*.go' staging/src pkg cmd | xargs -n1 dirname | sort -u |
        grep -v '/testdata\|sample-\|/test/' |
        sed -E 's#^staging/src/#k8s.io/kubernetes/vendor/#; s#^(pkg|cmd)/#k8s.io/kubernetes/\1/#' | paste -sd,)
    "$1/openapi-gen" --logtostderr -i "$marked" -p k8s.io/kubernetes/pkg/generated/openapi -O zz_generated.openapi \
        --go-header-file hack/boilerplate/boilerplate.generatego.txt -r "$1/violations" --output-base "$GOPATH/src" >&2
}

if ! is_complete; then
    install_for go golang-go
    install_for dpkg-source dpkg-dev
    install_for patch patch
    mkdir -p "$kept/bin"
    work=$(mktemp -d "$kept/build.XXXXXX")
    trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM
    began=$(date +%s)
    source_into "$work"
    (compile "$work")
    echo "Kubernetes 1.20.2 was built in $(($(date +%s) - began)) s" >&2
fi
echo "$kept"

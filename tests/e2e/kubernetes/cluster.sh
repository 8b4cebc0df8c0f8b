#!/bin/sh
# cluster.sh COMMAND…: run COMMAND beside a Kubernetes of one node, in namespaces of its own: etcd, API server, controller
# manager, scheduler, kubelet with dockerd, kube-proxy. KUBECONFIG names it, PATH has kubectl, helm and docker. All of
# it ends with COMMAND, whatever becomes of this script.
#
# Not as in a cluster of yours: names of services come from a dnsmasq (not CoreDNS), volumes are folders made ahead, pods
# are on docker's bridge (no CNI, so NetworkPolicy is kept and not enforced), and there is no KEDA.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
home=$(cd "$here/../../.." && pwd)
. "$here/../../real/packages.sh"
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH

# wait_for WHAT COMMAND…: until the command holds; after two minutes all ends.
wait_for() {
    what=$1
    shift
    tries=1200
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || { echo "$what did not come up; see $folder/logs" >&2; tail -n 5 "$folder"/logs/* >&2; exit 1; }
        sleep 0.1
    done
}

. "$here/images.sh"

outside() {
    need_root
    install_for dockerd '^docker[.]io$'
    install_for dnsmasq dnsmasq-base
    for pair in iptables:iptables ip:iproute2 openssl:openssl conntrack:conntrack gcc:gcc curl:curl; do
        install_for "${pair%:*}" "${pair#*:}"
    done
    kept=$("$here/build.sh")
    "$here/tools.sh" "$kept/tools"
    folder=$(mktemp -d /var/tmp/millhand-cluster.XXXXXX)
    group=millhand-cluster-$$
    daemon=
    trap clean EXIT
    trap 'exit 1' HUP INT TERM
    mkdir "$folder/logs"
    DOCKER_HOST=unix://$folder/docker.sock
    export DOCKER_HOST folder kept group
    engine "$folder" --bridge=none --iptables=false --ip-forward=false --ip-masq=false
    build_images "$folder" >"$folder/logs/images" 2>&1 || { tail -n 20 "$folder/logs/images" >&2; exit 1; }
    kill $daemon && wait $daemon || :
    daemon=
    unshare --mount --net --pid --fork --kill-child --mount-proc --propagation private "$0" --inside "$@"
}

# Processes are gone with their namespace. What lies on this machine itself: the folder, the groups.
clean() {
    [ -z "$daemon" ] || { kill $daemon 2>/dev/null && wait $daemon; } || :
    grep -o " ${folder}[^ ]*" /proc/self/mounts | sort -r | xargs -r -n1 umount -l 2>/dev/null || :
    tries=50
    while [ $tries -gt 0 ] && [ -n "$(find /sys/fs/cgroup -maxdepth 3 -type d -name kubepods)" ]; do
        find /sys/fs/cgroup/*/kubepods /sys/fs/cgroup/*/"$group" -depth -type d -exec rmdir {} \; 2>/dev/null || :
        tries=$((tries - 1))
        sleep 0.1
    done
    if [ "${KEEP:-}" ]; then echo "kept: $folder" >&2; else rm -rf "$folder"; fi
}

# The kubelet sets these, and they are the machine's: here they are files.
own_sysctls() {
    for name in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
        mkdir -p "$folder/sysctl/${name%/*}"
        cat "/proc/sys/$name" >"$folder/sysctl/$name"
        mount --bind "$folder/sysctl/$name" "/proc/sys/$name"
    done
}

network() {
    ip link set lo up
    ip link add node0 type bridge
    ip addr add 10.99.0.1/24 dev node0
    ip link set node0 up
    ip route add default via 10.99.0.254
    echo 1 >/proc/sys/net/ipv4/ip_forward
}

# start NAME COMMAND…: with its own log.
start() {
    log=$folder/logs/$1
    shift
    "$@" >"$log" 2>&1 &
}

kubeconfig() {
    printf 'admin,admin,1,"system:masters"\n' >"$folder/tokens.csv"
    cat >"$folder/kubeconfig" <<EOF
apiVersion: v1
kind: Config
clusters: [{name: it, cluster: {server: "https://127.0.0.1:6443", insecure-skip-tls-verify: true}}]
users: [{name: admin, user: {token: admin}}]
contexts: [{name: it, context: {cluster: it, user: admin}}]
current-context: it
EOF
    KUBECONFIG=$folder/kubeconfig
    export KUBECONFIG
}

control_plane() {
    openssl genrsa -out "$folder/accounts.key" 2048 2>/dev/null
    openssl rsa -in "$folder/accounts.key" -pubout -out "$folder/accounts.pub" 2>/dev/null
    start etcd "$kept/tools/etcd" --data-dir "$folder/etcd" --listen-client-urls http://127.0.0.1:2379 \
        --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380 --unsafe-no-fsync
    start apiserver "$kept/bin/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 --cert-dir="$folder/pki" \
        --service-cluster-ip-range=10.96.0.0/24 --secure-port=6443 --advertise-address=10.99.0.1 \
        --bind-address=0.0.0.0 --authorization-mode=RBAC --token-auth-file="$folder/tokens.csv" \
        --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$folder/accounts.pub" \
        --service-account-signing-key-file="$folder/accounts.key" --kubelet-preferred-address-types=InternalIP
    wait_for 'the API server' kubectl get --raw /readyz
    start controllers "$kept/bin/kube-controller-manager" --kubeconfig="$KUBECONFIG" --leader-elect=false \
        --service-account-private-key-file="$folder/accounts.key" --use-service-account-credentials
    start scheduler "$kept/bin/kube-scheduler" --kubeconfig="$KUBECONFIG" --leader-elect=false
}

node() {
    cat >"$folder/kubelet.yaml" <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
syncFrequency: 2s
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
clusterDNS: [10.99.0.1]
clusterDomain: cluster.local
failSwapOn: false
oomScoreAdj: 0
maxOpenFiles: 20000
enforceNodeAllocatable: [pods]
evictionHard: {memory.available: 100Mi, nodefs.available: "1%", imagefs.available: "1%"}
imageGCHighThresholdPercent: 100
EOF
    mkdir -p "$folder/names" "$folder/volumes"
    start dnsmasq dnsmasq --keep-in-foreground --no-resolv --no-hosts --hostsdir="$folder/names" --user=root \
        --pid-file="$folder/dnsmasq.pid" --listen-address=10.99.0.1 --bind-interfaces
    start kubelet "$kept/bin/kubelet" --config="$folder/kubelet.yaml" --kubeconfig="$KUBECONFIG" \
        --container-runtime=docker --docker-endpoint="$DOCKER_HOST" --pod-infra-container-image=local/pause:1 \
        --root-dir="$folder/kubelet" --cert-dir="$folder/kubelet/pki" --hostname-override=node --node-ip=10.99.0.1
    start proxy "$kept/bin/kube-proxy" --kubeconfig="$KUBECONFIG" --hostname-override=node --proxy-mode=iptables \
        --masquerade-all --conntrack-max-per-core=0 --conntrack-tcp-timeout-established=0 \
        --conntrack-tcp-timeout-close-wait=0 --healthz-bind-address= --cluster-cidr=172.17.0.0/16
    wait_for 'the node' kubectl wait --for=condition=Ready node/node --timeout=1s
    start names name_services
}

# What CoreDNS does: an address for each service that has one.
name_services() {
    form='{range .items[*]}{.spec.clusterIP} {.metadata.name}.{.metadata.namespace}.svc.cluster.local {.metadata.name}.{.metadata.namespace}.svc{"\n"}{end}'
    while sleep 0.5; do
        kubectl get services --all-namespaces -o "jsonpath=$form" 2>/dev/null | grep '^[0-9]' >"$folder/named" || continue
        cmp -s "$folder/named" "$folder/names/services" || cp "$folder/named" "$folder/names/services"
    done
}

# Volumes that claims without a class are given.
volumes() {
    for number in 0 1 2 3 4 5; do
        mkdir -m 0777 "$folder/volumes/$number"
        cat <<EOF
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: volume-$number}
spec:
  capacity: {storage: 20Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  hostPath: {path: $folder/volumes/$number}
EOF
    done | kubectl apply --validate=false -f - >"$folder/logs/volumes"
}

if [ "${1:-}" = --inside ]; then
    shift
    PATH=$kept/tools:$PATH
    export PATH
    began=$(date +%s)
    own_sysctls
    network
    rm -f "$folder/docker.pid"
    engine "$folder"
    kubeconfig
    control_plane
    node
    volumes
    echo "Kubernetes was up after $(($(date +%s) - began)) s" >&2
    "$@"
else
    outside "$@"
fi

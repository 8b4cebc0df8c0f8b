# shellcheck shell=sh
# shellcheck disable=SC2154,SC2034 # what cluster.sh sets, and what it reads
# Sourced by cluster.sh: the images of the cluster, built by a dockerd that is ended again; no registry is asked.

# engine FOLDER OPTION…: start dockerd with its data in FOLDER/docker, and wait until it answers. Sets $daemon.
engine() {
    data=$1
    shift
    dockerd --data-root "$data/docker" --exec-root "$data/exec" -p "$data/docker.pid" -H "$DOCKER_HOST" \
        --storage-driver=overlay2 --cgroup-parent "/$group" --add-runtime "fixed=$here/runtime.py" --default-runtime fixed \
        "$@" >>"$data/logs/dockerd" 2>&1 &
    daemon=$!
    wait_for 'docker' docker info
}

# build_images FOLDER: the shipped Dockerfile, unchanged, as millhand:shipped; with the handlers of the tests, as
# millhand:0.1.0 and 0.1.1; and a pod's pause.
build_images() {
    "$here/../base_image.sh" local/python:bookworm
    DOCKER_BUILDKIT=1 docker build --quiet --network=host --build-arg=BASE_IMAGE=local/python:bookworm \
        --secret=id=ca,src=/etc/ssl/certs/ca-certificates.crt --tag=millhand:shipped "$home"
    mkdir "$1/image" "$1/pause"
    cp "$here/own.py" "$1/image/"
    printf 'FROM millhand:shipped\nCOPY own.py /opt/handlers/own.py\n' >"$1/image/Dockerfile"
    DOCKER_BUILDKIT=0 docker build --quiet --network=none --tag=millhand:0.1.0 --tag=millhand:0.1.1 "$1/image"
    gcc -Os -static -o "$1/pause/pause" "$here/pause.c"
    tar -c -C "$1/pause" pause | docker import --change 'ENTRYPOINT ["/pause"]' - local/pause:1
}

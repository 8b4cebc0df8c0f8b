#!/bin/sh
# Run Schemathesis against a server of this checkout; arguments go to it (--seed 7, --max-examples 500).
#
# It has an environment of its own, as its twenty packages are of no use to anything else here. Two of its checks
# are left out: that whatever the schemas do not allow is refused (this server takes null for what is absent, and
# fields that it does not know), and that whatever they allow is taken (ids must name something that exists).
set -eu
cd "$(dirname "$0")/.."

version=4.32.5
tool=build/schemathesis
if [ "$($tool/bin/schemathesis --version 2>/dev/null)" != "schemathesis, version $version" ]; then
    echo "schemathesis: installing version $version into $tool" >&2
    rm -rf $tool
    .venv/bin/python -m venv $tool
    $tool/bin/python -m pip install --quiet --disable-pip-version-check "schemathesis==$version"
fi

log=$(mktemp)
.venv/bin/millhand serve --port 0 --db sqlite:// --token schemathesis 2>"$log" &
server=$!
trap 'kill $server 2>/dev/null; wait $server || true; rm -f "$log"' EXIT
until url=$(grep -o 'http://127[0-9.:]*' "$log"); do
    kill -0 $server 2>/dev/null || { cat "$log" >&2; exit 1; }
    sleep 0.1
done

post() {
    curl --silent --fail --output /dev/null --header 'authorization: Bearer schemathesis' \
        --header 'content-type: application/json' --data "$2" "$url/api/jobs$1"
}
post '' '{"id": "job", "type": "x"}'
post /tasks '{"id": "task", "jobId": "job"}'
post /runs '{"id": "run", "taskId": "task", "startedAt": "2026-01-02T03:04:05.678Z"}'

$tool/bin/schemathesis run "$url/openapi.json" --header 'Authorization: Bearer schemathesis' \
    --exclude-checks negative_data_rejection,positive_data_acceptance \
    --max-examples 60 --workers 1 --continue-on-failure --request-timeout 20 --no-color "$@"

# The agent and the server in one image; what a container does is its command: `agent` (default) or `serve`.
# Libraries are the locked ones, checked by hash. BASE_IMAGE may be a mirror's or another Python 3.11 to 3.13;
# BASE_DIGEST (sha256:…) holds it fast. VARIANT: cpu, gpu, webgl. All of it: deploy/README.md.
ARG BASE_IMAGE=python:3.12-slim-bookworm
ARG BASE_DIGEST=
ARG VARIANT=cpu
# Of every file beside the base: the day that wheels get, too, where nobody says another.
ARG SOURCE_DATE_EPOCH=1580601600

FROM ${BASE_IMAGE}${BASE_DIGEST:+@${BASE_DIGEST}} AS base

FROM base AS build
# The seed and the kind of .pyc make the same bytes of the same sources, at any time.
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1 PYTHONHASHSEED=0
WORKDIR /build
RUN python3 -m venv /opt/millhand
# An own authority may be given while building: --secret id=ca,src=bundle.pem. It does not stay in the image.
COPY requirements/image.txt requirements/build.txt requirements/sbom.txt requirements/
RUN --mount=type=secret,id=ca \
    if [ -s /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi \
    && /opt/millhand/bin/pip install --only-binary=:all: --require-hashes -r requirements/image.txt --report libraries.json \
    && python3 -m venv /opt/build \
    && /opt/build/bin/pip install --only-binary=:all: --require-hashes -r requirements/build.txt \
    && python3 -m venv /opt/sbom \
    && /opt/sbom/bin/pip install --only-binary=:all: --require-hashes -r requirements/sbom.txt
COPY pyproject.toml README.md LICENSE ./
COPY worker worker
COPY handlers handlers
COPY server server
COPY millhand_pytest millhand_pytest
# Who may run the init but not read it has a first process whose environment, and a token in it, nobody can read.
ARG SOURCE_DATE_EPOCH
RUN /opt/build/bin/python -m build --no-isolation --wheel --outdir dist . \
    && /opt/millhand/bin/pip install --no-index --no-deps --report millhand.json dist/*.whl \
    && /opt/millhand/bin/pip uninstall --yes setuptools pip \
    && /opt/millhand/bin/python -m compileall -q -f --invalidation-mode unchecked-hash /opt/millhand/lib \
    && chmod 0711 /opt/millhand/bin/dumb-init
# CycloneDX: what is installed, with licences and who needs whom; with the hash of the archive that each came from.
COPY scripts/sbom.py ./
RUN /opt/sbom/bin/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml \
        --output-file /opt/millhand/sbom.cdx.json /opt/millhand/bin/python \
    && /opt/sbom/bin/python sbom.py /opt/millhand/sbom.cdx.json libraries.json millhand.json

FROM base AS cpu

# A GPU's driver comes from the host. Handlers that draw want `graphics` besides: -e NVIDIA_DRIVER_CAPABILITIES=…
FROM base AS gpu
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM base AS webgl
# The browser is not pinned: Debian keeps only its newest, and that is the one without known holes.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends chromium \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log /var/cache/ldconfig/aux-cache

# All that the image has beside its base, as one tree in which nothing tells when it was built: two builds of the same
# sources on the same base give a layer with the same digest. `useradd` writes SOURCE_DATE_EPOCH into its files, too.
# hadolint ignore=DL3006
FROM ${VARIANT} AS tree
ARG SOURCE_DATE_EPOCH
RUN useradd --system --uid 10001 --user-group --home-dir /var/lib/millhand --no-create-home millhand \
    && mkdir -p /tree/etc /tree/opt /tree/var/lib \
    && cp -p /etc/passwd /etc/group /etc/shadow /etc/gshadow /tree/etc/ \
    && install -d -o millhand -g millhand -m 0700 /tree/var/lib/millhand
COPY --from=build /opt/millhand /tree/opt/millhand
RUN find /tree -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +

# hadolint ignore=DL3006
FROM ${VARIANT}
COPY --from=tree /tree/ /
ENV PATH=/opt/millhand/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MILLHAND_STATE_DIR=/var/lib/millhand/agent \
    MILLHAND_SERVER_DB=sqlite:////var/lib/millhand/server.db
USER 10001:10001
WORKDIR /var/lib/millhand
VOLUME /var/lib/millhand
# The init reaps what lost its parent, and hands signals to millhand alone, which stops its handlers in order.
ENTRYPOINT ["dumb-init", "--single-child", "--", "millhand"]
CMD ["agent"]
# Alive is whose loop turns. What is asked, and where, stands in the command line of the first process; no shell is needed.
HEALTHCHECK --interval=30s --timeout=15s --start-period=60s --retries=3 CMD ["millhand", "health"]
ARG BASE_IMAGE
ARG BASE_DIGEST
ARG VERSION=0.1.0
ARG REVISION=
ARG CREATED=
ARG SOURCE=
LABEL org.opencontainers.image.title="millhand" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="$VERSION" \
    org.opencontainers.image.revision="$REVISION" \
    org.opencontainers.image.created="$CREATED" \
    org.opencontainers.image.source="$SOURCE" \
    org.opencontainers.image.base.name="$BASE_IMAGE" \
    org.opencontainers.image.base.digest="$BASE_DIGEST"

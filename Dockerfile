# syntax=docker/dockerfile:1
# The image of dr-operator for amd64 and arm64. What is done here is done by the scripts of image/, which run without Docker too;
# docs/image.md says how a release is made.
ARG RUST=docker.io/library/rust:1.95-slim-trixie
ARG BASE=gcr.io/distroless/static-debian13:nonroot

# On the architecture of the machine that builds, whatever is built: nothing is emulated.
FROM --platform=$BUILDPLATFORM ${RUST} AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY image/requirements.txt image/tools.sh image/
RUN image/tools.sh
COPY Cargo.toml Cargo.lock ./
# The workspace names this crate; cargo reads its manifest and builds nothing of it.
COPY tests/support/Cargo.toml tests/support/
COPY crds crds
COPY image image
COPY src src
ARG TARGETARCH
ARG PROFILE=dist
RUN binary=$(image/build.sh "$TARGETARCH" "$PROFILE") \
    && image/check.sh "$binary" "$TARGETARCH" \
    && cp "$binary" /dr-operator

# Certificates of public authorities and a user without rights; no shell and no library.
FROM ${BASE}
ARG BASE
ARG VERSION=0.1.0
ARG REVISION
ARG CREATED
ARG SOURCE
LABEL org.opencontainers.image.title="disaster-recovery-operator" \
      org.opencontainers.image.description="Keeps disaster-recovery set-ups on Alibaba Cloud as Kubernetes resources" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE}"
COPY LICENSE /LICENSE
COPY --from=build /dr-operator /dr-operator
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/dr-operator"]

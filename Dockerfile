# Glassbox in a container: the binary, ONNX Runtime, the C and C++ libraries of Debian, the models; no shell, no package
# manager, nothing that is not needed. Builds for the platform that it is built on or for: linux/amd64 and linux/arm64.
#
#   docker build -t glassbox --build-arg REVISION=$(git describe --always --dirty) .
#   docker build -t glassbox --build-arg MODELS=path/in/this/folder .     # your own models instead of the bundled ones
#
# config/container.toml is its configuration; mount another one to /etc/glassbox/glassbox.toml, or set GLASSBOX__… variables.
# scripts/try-image.sh builds it as written, without Docker and without a registry, and runs it.

FROM rust:1.95.0-slim-bookworm AS binary
WORKDIR /build
# The dependencies alone, with nothing of ours around them: this layer lasts until one of these two files changes.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src && echo 'fn main() {}' > src/main.rs && touch src/lib.rs \
 && cargo build --release --locked --bin glassbox \
 && rm -r src
# The licences of what is linked.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3
COPY scripts/third-party.py scripts/onnxruntime-license.txt scripts/
COPY config config
COPY proto proto
COPY src src
RUN scripts/third-party.py THIRD-PARTY.txt
# Named in GET /, in build_info and in the image's labels.
ARG REVISION=unknown
# cargo goes by times, and those of the files are older than the empty ones that it has just built.
RUN touch src/main.rs src/lib.rs \
 && GLASSBOX_REVISION=$REVISION cargo build --release --locked --bin glassbox

# The library from its wheel, by the version and the hashes that `make setup` goes by too.
FROM debian:12.12-slim AS library
WORKDIR /build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3 python3-pip
COPY scripts/lib.sh scripts/onnxruntime.txt scripts/setup-onnxruntime.sh scripts/
RUN scripts/setup-onnxruntime.sh

# What both link against, unpacked into a folder. Scanners find the packages in status.d, as in other images without dpkg.
FROM debian:12.12-slim AS system
WORKDIR /packages
RUN mkdir -p /system/etc/glassbox /system/tmp /system/var/lib/dpkg/status.d /own/keys /own/state \
 && chmod 1777 /system/tmp \
 && apt-get update \
 && apt-get download gcc-12-base libc6 libgcc-s1 libstdc++6 \
 && for package in *.deb; do \
      dpkg-deb --extract "$package" /system \
      && dpkg-deb --field "$package" > "/system/var/lib/dpkg/status.d/$(dpkg-deb --field "$package" Package)" \
      || exit 1; \
    done \
 && rm -r /system/usr/lib/*/gconv /system/usr/share/lintian \
 && find /system/usr/share/doc -type f ! -name copyright -delete \
 && echo 'root:x:0:0:root:/:/nologin' > /system/etc/passwd \
 && echo 'glassbox:x:10001:10001:Glassbox:/var/lib/glassbox:/nologin' >> /system/etc/passwd \
 && printf 'root:x:0:\nglassbox:x:10001:\n' > /system/etc/group \
 && echo 'hosts: files dns' > /system/etc/nsswitch.conf

FROM scratch
COPY --from=system /system /
# Volumes that are empty take over the owner of the folder that they are mounted to.
COPY --from=system --chown=10001:10001 /own/keys /etc/glassbox/keys
COPY --from=system --chown=10001:10001 /own/state /var/lib/glassbox
WORKDIR /opt/glassbox
COPY --from=library /build/.onnxruntime lib
COPY --from=binary /build/target/release/glassbox /opt/glassbox/
COPY --from=binary /build/THIRD-PARTY.txt /opt/glassbox/
COPY LICENSE /opt/glassbox/
COPY config/container.toml /etc/glassbox/glassbox.toml
# A folder of this one, with a folder for each model.
ARG MODELS=model
COPY ${MODELS} model

ARG REVISION=unknown
LABEL org.opencontainers.image.title="Glassbox" \
      org.opencontainers.image.description="Serves ONNX models over HTTP in production, from one binary: the opposite of a black box" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.licenses="MIT"

# SQLite's own scratch files, where nothing else can be written.
ENV PATH=/opt/glassbox SQLITE_TMPDIR=/var/lib/glassbox
USER 10001:10001
# The history and its spool: the one folder that is written, so that the rest can be read-only.
VOLUME /var/lib/glassbox
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["glassbox", "healthcheck", "--config", "/etc/glassbox/glassbox.toml"]
ENTRYPOINT ["glassbox"]
CMD ["serve", "--config", "/etc/glassbox/glassbox.toml"]

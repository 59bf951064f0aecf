# shellcheck shell=bash
# What every script needs: where things are, which tools are missing and how to get them, and how
# long a step took. Sourced, never run. Exit code 5 means: something is missing, type the line shown.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${TOOLWARDEN_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/toolwarden}
stamps=$root/target/scripts
helm_version=v3.22.0
go_version=1.26.8
readonly root cache stamps helm_version go_version

missing_packages=()

say() { printf '%s\n' "$*" >&2; }

# Ends the script with the one line that helps.
stop_with() {
  say "$1"
  say "    $2"
  exit 5
}

have() { command -v "$1" >/dev/null 2>&1; }

# need COMMAND PACKAGE: notes the Debian package when the command is not there.
need() {
  if have "$1"; then return 0; fi
  case " ${missing_packages[*]:-} " in
    *" $2 "*) ;;
    *) missing_packages+=("$2") ;;
  esac
}

# Installs what `need` noted. The package manager is asked once for all of it.
install_missing() {
  if [ "${#missing_packages[@]}" -eq 0 ]; then return 0; fi
  local line="apt-get install -y --no-install-recommends ${missing_packages[*]}"
  if ! have apt-get; then
    stop_with "missing (Debian package names), install them with your package manager:" "${missing_packages[*]}"
  fi
  if [ "$(id -u)" -ne 0 ]; then
    stop_with "missing: ${missing_packages[*]}. Type:" "sudo apt-get update && sudo $line"
  fi
  say "installing ${missing_packages[*]}"
  mkdir -p "$stamps"
  # RUNLEVEL=1 keeps a package such as prometheus from starting its service.
  if ! { apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive $line -qq; } \
    >"$stamps/apt.log" 2>&1; then
    tail -n 5 "$stamps/apt.log" >&2
    stop_with "apt-get could not install them (whole log: $stamps/apt.log). Try:" "apt-get update && $line"
  fi
  missing_packages=()
}

# version_at_least HAVE WANT, both dotted numbers.
version_at_least() {
  [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

need_rust() {
  local want got
  if ! have cargo && [ -x "$HOME/.cargo/bin/cargo" ]; then PATH=$HOME/.cargo/bin:$PATH; fi
  have cargo || stop_with "cargo is missing. Type:" \
    "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y"
  want=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
  got=$(cargo --version | cut -d ' ' -f 2)
  version_at_least "$got" "$want" || stop_with "Rust $want or newer is needed, this is $got. Type:" \
    "rustup update stable"
}

# What the build itself needs: librdkafka and zstd are compiled from C, OpenSSL is linked.
need_build_tools() {
  need cc gcc
  need c++ g++
  need make make
  need cmake cmake
  need pkg-config pkg-config
  # Without pkg-config the headers cannot be looked up, so they are asked for together.
  if ! have pkg-config || ! pkg-config --exists openssl; then missing_packages+=(libssl-dev); fi
}

# True when the java on the path is 17 or newer.
java_is_new_enough() {
  local major
  major=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1)
  [ "${major:-0}" -ge 17 ]
}

need_java() {
  if ! have java; then
    missing_packages+=(openjdk-17-jdk-headless)
  elif ! java_is_new_enough; then
    stop_with "Java 17 or newer is needed, this is $(java -version 2>&1 | head -n 1). Type:" \
      "sudo apt-get install -y openjdk-17-jdk-headless && sudo update-alternatives --config java"
  fi
}

# Sets TOOLWARDEN_HELM: a helm 3.18 or newer from the path, else one built once into the cache.
need_helm() {
  local built=$cache/bin/helm-$helm_version/helm got
  if [ -n "${TOOLWARDEN_HELM:-}" ] && [ -x "$TOOLWARDEN_HELM" ]; then return 0; fi
  if [ -x "$built" ]; then
    export TOOLWARDEN_HELM=$built
    return 0
  fi
  if have helm; then
    got=$(helm version --template '{{.Version}}' 2>/dev/null | tr -d v | cut -d + -f 1)
    if version_at_least "${got:-0}" 3.18; then
      TOOLWARDEN_HELM=$(command -v helm)
      export TOOLWARDEN_HELM
      return 0
    fi
  fi
  build_helm "$built"
}

build_helm() {
  if ! have go && [ -x /usr/local/go/bin/go ]; then PATH=$PATH:/usr/local/go/bin; fi
  have go || stop_with "Go is missing (it builds Helm, which tests the chart; Debian's is too old). Type:" \
    "curl -fsSL https://go.dev/dl/go$go_version.linux-$(go_arch).tar.gz | sudo tar -C /usr/local -xz"
  say "building helm $helm_version once, about three minutes"
  mkdir -p "$(dirname "$1")" "$stamps"
  if ! GOBIN=$(dirname "$1") go install "helm.sh/helm/v3/cmd/helm@$helm_version" >"$stamps/helm.log" 2>&1; then
    tail -n 5 "$stamps/helm.log" >&2
    stop_with "helm could not be built (whole log: $stamps/helm.log). Try:" \
      "GOBIN=$(dirname "$1") go install helm.sh/helm/v3/cmd/helm@$helm_version"
  fi
  export TOOLWARDEN_HELM=$1
}

go_arch() {
  case $(uname -m) in
    aarch64 | arm64) echo arm64 ;;
    *) echo amd64 ;;
  esac
}

#!/bin/sh
# Prepares everything that bin/arctic needs; asks for nothing, repeats nothing that is done.
#   sh tools/setup.sh [run|demo|test|bench]
# 1. npm packages with the pinned Node 24   2. the agent in one piece   3. Debian packages, when missing and allowed
# 4. engines in release mode   5. what V8 compiles of the agent
set -eu
cd "$(dirname "$0")/.."
goal=${1:-run}

say() { printf '%s\n' "setup: $*" >&2; }
die() { printf '%s\n' "error: setup: $*" >&2; exit 1; }

# 1. npm packages. The stamp is the lockfile itself: an interrupted or outdated install is made anew.
stamp=node_modules/.arctic-lock
if ! cmp -s package-lock.json "$stamp"; then
  say "installing npm packages"
  npm ci --no-audit --no-fund --loglevel=error >&2 || die "npm ci failed; check the network and the npm registry settings, then run it again"
  cp package-lock.json "$stamp"
fi
ls node_modules/node-linux-*/bin/node >/dev/null 2>&1 ||
  [ "$(node -p 'process.versions.node.split(".")[0]')" -ge 24 ] ||
  die "the pinned Node 24 did not install (its packages are for Linux on x64 and arm64); install Node 24 or newer, then run it again"

for node in node_modules/node-linux-*/bin/node node; do
  if command -v "$node" >/dev/null 2>&1; then break; fi
done

# 2. The agent in one piece, made anew when a source is newer (bin/arctic goes by the same rule, and else runs the sources).
if [ ! -f dist/main.js ] || [ -n "$(find src sim tools/bundle.ts package-lock.json -newer dist/main.js -print -quit)" ]; then
  "$node" --disable-warning=ExperimentalWarning tools/bundle.ts >&2 || die "the agent could not be bundled; the lines above say why"
fi

# 3. Debian packages: program to look for, package that has it.
need="nft:nftables ip:iproute2"
case $goal in
  demo | test | bench) need="$need ping:iputils-ping curl:curl tcpdump:tcpdump" ;;
esac
case $goal in
  test) need="$need wireguard-go:wireguard-go wg:wireguard-tools" ;;
  bench) need="$need haproxy:haproxy iperf3:iperf3 wrk:wrk openssl:openssl nginx:nginx-light stunnel4:stunnel4 wireguard-go:wireguard-go wg:wireguard-tools etcd:etcd-server serf:serf" ;;
esac
PATH=$PATH:/usr/sbin:/sbin
missing=
# nginx's stream proxy is a module of its own, which is a file and no program.
[ "$goal" != bench ] || [ -e /usr/lib/nginx/modules/ngx_stream_module.so ] || missing=" libnginx-mod-stream"
for pair in $need; do
  command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair##*:}"
done
if [ -n "$missing" ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    say "installing$missing"
    # A distribution must not start a service because we want its program.
    policy=/usr/sbin/policy-rc.d
    made=
    if [ ! -e $policy ]; then printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy && made=1; fi
    (apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing) >/dev/null 2>&1 || failed=1
    [ -n "$made" ] && rm -f $policy
    [ -z "${failed:-}" ] || die "could not install$missing; install them by hand (apt-get install$missing), then run it again"
  else
    die "missing programs; install these Debian packages as root, then run it again: apt-get install$missing"
  fi
fi

# 4. The engines. Cargo itself knows what is up to date.
command -v cargo >/dev/null 2>&1 || die "cargo is missing; install Rust (https://rustup.rs or apt-get install cargo), then run it again"
command -v cc >/dev/null 2>&1 || die "a C compiler is missing; apt-get install gcc, then run it again"
fresh=$(cd engines && cargo build --release --locked --quiet 2>&1) || { printf '%s\n' "$fresh" >&2; die "the engines did not build; the lines above say why"; }

# 5. What V8 compiles of the agent for a start, so that the first one here is as fast as the others. Nothing depends on it.
"$node" --disable-warning=ExperimentalWarning tools/warm.ts >/dev/null 2>&1 || say "agents will keep what is compiled of them by themselves"

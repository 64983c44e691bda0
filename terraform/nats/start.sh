# Starts NATS inside its task. The configuration goes through a pipe, since the root file system
# cannot be written to and the password belongs in no argument.
#
# NATS_NAME: of the server. NATS_USERS: users.conf, which says who may do what.
# NATS_PASSWORD: of the administrator, bidding; any printable characters. NATS_API_GATEWAY_PASSWORD and
# so on: of the other users.
# NATS_ROUTES: host:port of every server of the cluster, between spaces; empty: no cluster.
# NATS_STORE, NATS_STORE_WAIT_S, NATS_PORT, NATS_HTTP, NATS_CLUSTER_PORT: others than the usual ones,
# for tests.
set -eu

# ECS ends the old task before it starts a new one; a host that is cut off may run on all the same.
# Whoever holds this lock, which NFS knows too, is the only one on the store; it goes with its process.
store="${NATS_STORE:-/data}"
exec 9>"$store/.lock"
left="${NATS_STORE_WAIT_S:-50}"
until flock -n 9; do
    if [ "$left" -le 0 ]; then
        echo "another server is on $store; ending" >&2
        exit 1
    fi
    left=$((left - 1))
    sleep 1
done

quote() { printf '%s' "$1" | sed 's/[\\"]/\\&/g'; }
quoted="$(quote "$NATS_PASSWORD")"

# For the routes' URLs every character is percent-encoded.
encoded=
rest="$NATS_PASSWORD"
while [ -n "$rest" ]; do
    tail="${rest#?}"
    encoded="$encoded$(printf '%%%02X' "'${rest%"$tail"}")"
    rest="$tail"
done

cluster=
for route in ${NATS_ROUTES:-}; do
    cluster="$cluster${cluster:+, }\"nats://bidding:$encoded@$route\""
done
if [ -n "$cluster" ]; then
    cluster="cluster {
  name: bidding-system
  port: ${NATS_CLUSTER_PORT:-6222}
  authorization { user: bidding, password: \"$quoted\" }
  routes: [$cluster]
}"
fi

exec nats-server --config /dev/stdin <<CONFIGURATION
ADMINISTRATOR_PASSWORD: "$quoted"
API_GATEWAY_PASSWORD: "$(quote "$NATS_API_GATEWAY_PASSWORD")"
BROADCAST_SERVICE_PASSWORD: "$(quote "$NATS_BROADCAST_SERVICE_PASSWORD")"
ARCHIVAL_WORKER_PASSWORD: "$(quote "$NATS_ARCHIVAL_WORKER_PASSWORD")"
RESTORE_PASSWORD: "$(quote "$NATS_RESTORE_PASSWORD")"
$NATS_USERS
server_name: "$NATS_NAME"
port: ${NATS_PORT:-4222}
http: "127.0.0.1:${NATS_HTTP:-8222}"
jetstream { store_dir: "$store", sync_interval: 1s }
$cluster
CONFIGURATION

# Whether this is the server that start.sh starts: JetStream is on and works, and nobody enters without
# a password. /healthz alone also says ok of a server without either. Not whether there is a quorum:
# losing it would get the remaining servers killed too.
get() {
    # The official image has wget; others may have bash instead.
    wget -q -O - "http://127.0.0.1:8222$1" 2>/dev/null ||
        bash -c 'exec 3<>/dev/tcp/127.0.0.1/8222; printf "GET %s HTTP/1.0\r\n\r\n" "$0" >&3; cat <&3' "$1"
}
state="$(get /varz)" || exit 1
echo "$state" | grep -q '"auth_required": *true' || exit 1
echo "$state" | grep -q '"store_dir":' || exit 1
get '/healthz?js-enabled-only=true' | grep -q '"status": *"ok"'

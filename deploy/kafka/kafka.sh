#!/usr/bin/env bash
# A real Apache Kafka on loopback, from its Maven artifacts, for tests and for trying things out.
#   kafka.sh install                               fetches Kafka into deploy/kafka/lib, unless it is there
#   kafka.sh start DIR [--nodes 1|3] [--port PORT] starts a cluster that keeps all it has in DIR, and waits for it
#   kafka.sh stop DIR                              stops the nodes that `start` started, in order
#   kafka.sh kill-node DIR N                       ends node N with SIGKILL
#   kafka.sh start-node DIR N                      starts node N again, and waits for it
#   kafka.sh pid DIR N                             prints the process id of node N, if it runs
# Nodes count from 1; each is broker and controller. DIR/bootstrap holds host:port[,host:port...]. A second `start`
# keeps data and ports. MARGINSTREAM_KAFKA_HEAP sets the heap of a node (default 320m).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
heap=${MARGINSTREAM_KAFKA_HEAP:-320m}
wait_secs=120

fail() {
  echo "error: $*" >&2
  exit 1
}

usage() {
  sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

install_kafka() {
  "$here/../require.sh" java "a Java runtime, version 17 or later (Debian: openjdk-17-jre-headless)"
  (
    flock 9
    if cmp --silent "$here/pom.xml" "$here/lib/installed-pom.xml"; then exit; fi
    "$here/../require.sh" mvn "Apache Maven 3.6 or later (Debian: maven)"
    echo "==> fetching Apache Kafka (44 MB)" >&2
    rm -rf "$here/lib"
    mvn --quiet --batch-mode --no-transfer-progress --file "$here/pom.xml" dependency:copy-dependencies \
      -DincludeScope=runtime -DoutputDirectory="$here/lib" >&2 \
      || fail "maven could not fetch deploy/kafka/pom.xml; check the network and Maven's settings"
    cp "$here/pom.xml" "$here/lib/installed-pom.xml"
  ) 9>"$here/.install.lock"
}

# Prints a port that is neither open nor among $@; below the range that the kernel takes for outgoing connections.
free_port() {
  local port
  for _ in $(seq 200); do
    port=$((RANDOM % 12000 + 20000))
    if [[ " $* " != *" $port "* ]] && ! is_open "$port"; then
      echo "$port"
      return
    fi
  done
  fail "found no free port"
}

is_open() {
  (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# A cluster's id has no leading dash: Kafka's own tools would take it for an option.
new_cluster_id() {
  local id=-
  while [[ $id == -* ]]; do
    id=$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=')
  done
  echo "$id"
}

configure() {
  local nodes=$1 first_port=$2 node voters="" bootstrap="" ports=() controllers=()
  local min_isr=$((nodes > 1 ? 2 : 1))
  for node in $(seq "$nodes"); do
    mkdir -p "$dir/node-$node"
    ports[node]=${first_port:-$(free_port "${ports[@]}" "${controllers[@]}")}
    first_port=""
    controllers[node]=$(free_port "${ports[@]}" "${controllers[@]}")
    voters+="${voters:+,}$node@127.0.0.1:${controllers[node]}"
    bootstrap+="${bootstrap:+,}127.0.0.1:${ports[node]}"
  done
  for node in $(seq "$nodes"); do
    cat >"$dir/node-$node/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=$node
controller.quorum.voters=$voters
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:${ports[node]},CONTROLLER://127.0.0.1:${controllers[node]}
advertised.listeners=PLAINTEXT://127.0.0.1:${ports[node]}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs=$dir/node-$node/data
auto.create.topics.enable=false
default.replication.factor=$nodes
min.insync.replicas=$min_isr
offsets.topic.replication.factor=$nodes
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=$nodes
transaction.state.log.min.isr=$min_isr
transaction.state.log.num.partitions=2
share.coordinator.state.topic.replication.factor=$nodes
share.coordinator.state.topic.min.isr=$min_isr
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=5000
num.network.threads=2
num.io.threads=4
PROPERTIES
  done
  new_cluster_id >"$dir/cluster-id"
  echo "$bootstrap" >"$dir/bootstrap"
}

# Sets `java` to the command that runs a class of Kafka's for the node in $1.
set_java() {
  java=(java -Xms64m -Xmx"$heap" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:+ExitOnOutOfMemoryError
    -Dlog4j2.configurationFile="$here/log4j2.properties" -Dmarginstream.node="$1" -cp "$here/lib/*")
}

format() {
  local node_dir=$1
  [ -e "$node_dir/data/meta.properties" ] && return
  set_java "$node_dir"
  "${java[@]}" kafka.tools.StorageTool format --cluster-id "$(cat "$dir/cluster-id")" \
    --config "$node_dir/server.properties" >"$node_dir/format.log" 2>&1 \
    || fail "cannot format $node_dir/data: $(tail -n 1 "$node_dir/format.log")"
}

# Prints the process id of a node that runs. A process that took over an old id is told by its arguments.
pid_of() {
  local pid_file=$dir/node-$1/pid pid
  [ -s "$pid_file" ] || return 1
  pid=$(cat "$pid_file")
  [[ $(ps -p "$pid" -o args= 2>/dev/null) == *"$dir/node-$1/server.properties"* ]] || return 1
  echo "$pid"
}

launch() {
  local node_dir=$dir/node-$1
  pid_of "$1" >/dev/null && return
  rm -f "$node_dir/pid" "$node_dir/console.log"
  set_java "$node_dir"
  # In a session of its own, so that a Ctrl-C for the caller does not end the broker first.
  setsid bash -c 'echo $$ >"$1"; shift; exec "$@"' launch "$node_dir/pid" \
    "${java[@]}" kafka.Kafka "$node_dir/server.properties" >"$node_dir/console.log" 2>&1 </dev/null &
  # The id is there before anybody asks for it.
  while [ ! -s "$node_dir/pid" ]; do sleep 0.02; done
}

# Waits for a node. One that ends before it has started is launched again, as a supervisor would: a controller that is
# alone may give itself up on a machine that is busy.
await_node() {
  local node_dir=$dir/node-$1 deadline=$((SECONDS + wait_secs)) launches=1
  until grep -qs "Kafka Server started" "$node_dir/console.log"; do
    if ! pid_of "$1" >/dev/null; then
      [ "$launches" -lt 3 ] || fail "Kafka node $1 ended: $(grep -hE 'ERROR|Exception' "$node_dir/console.log" \
        "$node_dir/server.log" 2>/dev/null | tail -n 1) (see $node_dir/server.log)"
      launches=$((launches + 1))
      launch "$1"
    fi
    [ "$SECONDS" -lt "$deadline" ] || fail "Kafka node $1 did not start within $wait_secs s (see $node_dir/server.log)"
    sleep 0.1
  done
}

# The nodes of the cluster, by number.
nodes() {
  local node_dir
  for node_dir in "$dir"/node-*; do
    [ -d "$node_dir" ] && echo "${node_dir##*/node-}"
  done
}

start() {
  local num_nodes="" port="" node
  while [ $# -gt 0 ]; do
    case $1 in
      --nodes) num_nodes=${2:?} ;;
      --port) port=${2:?} ;;
      *) usage ;;
    esac
    shift 2
  done
  [[ ${num_nodes:-1} =~ ^[13]$ ]] || fail "--nodes is 1 or 3, not $num_nodes"
  install_kafka
  if [ ! -e "$dir/bootstrap" ]; then
    if [ -n "$port" ] && is_open "$port"; then
      fail "port $port is in use: stop what listens there, or choose another port"
    fi
    configure "${num_nodes:-1}" "$port"
  elif [ -n "$num_nodes" ] && [ "$num_nodes" != "$(nodes | wc -l)" ]; then
    fail "$dir holds a cluster of $(nodes | wc -l) nodes, not $num_nodes"
  fi
  for node in $(nodes); do format "$dir/node-$node"; done
  for node in $(nodes); do launch "$node"; done
  for node in $(nodes); do await_node "$node"; done
  cat "$dir/bootstrap"
}

stop() {
  local node pid pids=() deadline=$((SECONDS + 20))
  for node in $(nodes); do
    if pid=$(pid_of "$node"); then pids+=("$pid"); fi
  done
  [ ${#pids[@]} -gt 0 ] || return 0
  # A stopped process (SIGSTOP) would not hear the request to end.
  kill -TERM "${pids[@]}" 2>/dev/null || true
  kill -CONT "${pids[@]}" 2>/dev/null || true
  for pid in "${pids[@]}"; do
    # The last of three nodes cannot hand over in order: nobody is left to take it.
    while kill -0 "$pid" 2>/dev/null && [ "$SECONDS" -lt "$deadline" ]; do sleep 0.1; done
    kill -KILL "$pid" 2>/dev/null || true
  done
}

kill_node() {
  local pid
  pid=$(pid_of "$1") || fail "Kafka node $1 does not run"
  kill -KILL "$pid"
  while kill -0 "$pid" 2>/dev/null; do sleep 0.02; done
}

command=${1:-}
[ "$command" = install ] && { install_kafka; exit; }
[ $# -ge 2 ] || usage
if [ "$command" = start ]; then mkdir -p "$2"; fi
[ -d "$2" ] || fail "$2 is not a directory"
dir=$(cd "$2" && pwd)
case $command in
  start) start "${@:3}" ;;
  stop) stop ;;
  kill-node) kill_node "${3:?the number of the node}" ;;
  start-node)
    [ -d "$dir/node-${3:?the number of the node}" ] || fail "$dir has no node $3"
    launch "$3"
    await_node "$3"
    ;;
  pid) pid_of "${3:?the number of the node}" ;;
  *) usage ;;
esac

#!/usr/bin/env bash
# Readings made durable per second, side by side in one run on this machine: PostgreSQL (Debian's package `postgresql`), this
# gate in process, and this gate over mutual TLS.
#
# PostgreSQL gets one row per reading and the session's running balance, in transactions of 1,000 readings, each client with
# sessions of its own, synchronous commit, everything else as packaged. No TLS and no pricing: the cost is a constant.
#
#   benches/postgres.sh [SECONDS] [SESSIONS]
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-20} sessions=${2:-100000} clients=8
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
[ -n "$bin" ] || { echo "skipped: PostgreSQL is not installed (apt-get install postgresql)"; exit 0; }
cargo build --profile dist --quiet
mkdir -p target
work=$(mktemp -d "$PWD/target/postgres.XXXXXX")
as=()
if [ "$(id -u)" = 0 ]; then
  # PostgreSQL refuses to run as root.
  work_owner=postgres as=(setpriv --reuid=postgres --regid=postgres --clear-groups)
  chown "$work_owner" "$work"
  for folder in "$PWD" "$PWD/target"; do "${as[@]}" test -x "$folder" || { work=$(mktemp -d); chown "$work_owner" "$work"; break; }; done
fi
trap '"${as[@]}" "$bin/pg_ctl" -D "$work/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$work"' EXIT
"${as[@]}" "$bin/initdb" -D "$work/data" -U bench --auth=trust --no-instructions >/dev/null
"${as[@]}" "$bin/pg_ctl" -D "$work/data" -w -l "$work/log" \
  -o "-c listen_addresses= -c unix_socket_directories=$work -c synchronous_commit=on -c max_wal_size=4GB" start >/dev/null
sql() { "$bin/psql" -qAt -h "$work" -U bench postgres "$@"; }
sql <<SQL
CREATE TABLE session (id bigint PRIMARY KEY, sequence int NOT NULL, energy_wh bigint NOT NULL, cost numeric NOT NULL);
CREATE TABLE reading (session bigint NOT NULL, sequence int NOT NULL, at timestamptz NOT NULL, energy_wh bigint NOT NULL,
                      cost numeric NOT NULL, PRIMARY KEY (session, sequence));
INSERT INTO session SELECT id, 0, 0, 0.605 FROM generate_series(0, $sessions - 1) AS id;
VACUUM ANALYZE session;
SQL
each=$((sessions / 1000 / clients))
cat > "$work/batch.sql" <<SQL
\set base (:client_id * $each + random(0, $each - 1)) * 1000
WITH moved AS (
  UPDATE session SET sequence = sequence + 1, energy_wh = energy_wh + 60, cost = cost + 0.025200
  WHERE id BETWEEN :base AND :base + 999 RETURNING id, sequence, energy_wh, cost)
INSERT INTO reading SELECT id, sequence, now(), energy_wh, cost FROM moved;
SQL
chmod a+r "$work/batch.sql"
# Whoever is measured finds a disk that has written what was left of the one before: here, and before each of ours.
sync
"$bin/pgbench" -h "$work" -U bench -n -c $clients -j 2 -T "$seconds" -f "$work/batch.sql" postgres > "$work.out" 2>&1
tps=$(sed -n 's/^tps = \([0-9]*\).*/\1/p' "$work.out"); rm -f "$work.out"
# What was counted is what is there.
rows=$(sql -c 'SELECT count(*) FROM reading')
peer=$((rows / seconds))
printf 'PostgreSQL %s: %s readings/s (%s transactions/s of 1,000)\n' "$(sql -c 'SHOW server_version')" "$peer" "$tps"
"${as[@]}" "$bin/pg_ctl" -D "$work/data" -m fast -w stop >/dev/null

figure() { grep -o '"readings_durable_per_s": *[0-9]*' | grep -o '[0-9]*$'; }
for mode in --in-process --tls; do
  sync
  connections=(); [ $mode = --tls ] && connections=(--connections 100)
  shards=(); [ $mode = --in-process ] && shards=(--shards 2)
  ours=$(target/dist/wattstile bench $mode "${shards[@]}" --sessions "$sessions" --chargers "$sessions" "${connections[@]}" \
    --rate max --for "${seconds}s" --json --quiet | figure)
  printf 'wattstile bench %s: %s readings/s, %s.%s times as many\n' \
    "$mode" "$ours" $((ours / peer)) $((ours * 10 / peer % 10))
done

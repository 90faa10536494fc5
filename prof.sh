#!/bin/bash
# prof.sh ROW BIN OUT
mkdir -p /tmp/perf/w.$3
/tmp/perf/bench --server $2 --work /tmp/perf/w.$3 --seconds 6 --rounds 1 $1 > /tmp/perf/$3.txt 2>&1 &
B=$!
sleep ${4:-2.5}
perf record -a -F 999 -g --call-graph fp -o /tmp/perf/$3.data sleep 4 >/dev/null 2>&1
wait $B
cat /tmp/perf/$3.txt
perf report -i /tmp/perf/$3.data --no-children -g none --sort comm 2>/dev/null | grep -v '^#' | grep -v '^$' | head -14

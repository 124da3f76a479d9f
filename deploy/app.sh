#!/bin/sh
# A shop that logs JSON: requests with a level, a trace and a duration; now and then a warning, an error or a fatal one.
#
#   sh app.sh [LINES [SECONDS]]    so many lines (for ever), so long apart (0.5)
lines=${1:-0} pause=${2:-0.5}

exec awk -v lines="$lines" -v pause="$pause" '
function hex(digits,   text) {
    for (text = ""; digits > 0; digits--) text = text substr("0123456789abcdef", int(rand() * 16) + 1, 1)
    return text
}
function pick(list,   items, count) {
    count = split(list, items, " ")
    return items[int(rand() * count) + 1]
}
BEGIN {
    srand()
    for (line = 1; lines == 0 || line <= lines; line++) {
        chance = rand()
        level = chance < 0.1 ? "debug" : chance < 0.85 ? "info" : chance < 0.94 ? "warn" : chance < 0.995 ? "error" : "fatal"
        status = level == "error" || level == "fatal" ? 500 : level == "warn" ? pick("404 409 429") : 200
        duration = int(rand() * rand() * rand() * (status == 500 ? 5000 : 400)) + 1
        message = status == 500 ? "the payment service did not answer" : status == 200 ? "served" : "refused"
        printf "{\"level\":\"%s\",\"msg\":\"%s\",\"method\":\"%s\",\"path\":\"%s\",\"status\":%d,\"duration_ms\":%d,\"trace_id\":\"%s\",\"span_id\":\"%s\"}\n", \
            level, message, pick("GET GET GET POST"), pick("/ /cart /orders /products /login"), status, duration, hex(32), hex(16)
        fflush()
        if (pause > 0) system("sleep " pause)
    }
}'

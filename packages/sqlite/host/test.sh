# A part of run.sh. shellcheck shell=sh
if [ "$("$root/bin/sqlite3" :memory: "select json_extract('[42]', '\$[0]')")" = 42 ]; then
    ok "sqlite3"
else
    bad "sqlite3: a query fails"
fi
compare_version sqlite3 "$("$root/bin/sqlite3" -version)"

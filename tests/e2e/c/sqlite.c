/* The header declares these on request. */
#define SQLITE_ENABLE_PREUPDATE_HOOK 1
#define SQLITE_ENABLE_SESSION 1
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

static const char *STATEMENTS[] = {
    "create virtual table a using fts3(x)",
    "create virtual table b using fts4(x)",
    "create virtual table c using fts5(x)",
    "insert into c values ('the quick brown fox')",
    "insert into a values ('one two')",
    "select 1 / (select count(*) from c where c match 'quick NOT lazy')",
    /* Parentheses are read only with FTS3_PARENTHESIS. */
    "select 1 / (select count(*) from a where a match '(one OR three) AND two')",
    "create virtual table d using rtree(id, x0, x1)",
    "create virtual table e using geopoly(x)",
    "select sin(1) + log2(8) + pi() + soundex('x')",
    "select * from dbstat",
    "select * from sqlite_stmt",
    "select * from sqlite_dbpage",
    "select json_extract('{\"a\": 1}', '$.a')",
};

int main(void) {
    sqlite3 *db;
    sqlite3_session *session;
    const char *type;
    sqlite3_int64 size;
    char *error = NULL;
    size_t i;
    if (sqlite3_open(":memory:", &db)) return 1;
    for (i = 0; i < sizeof STATEMENTS / sizeof *STATEMENTS; i++)
        if (sqlite3_exec(db, STATEMENTS[i], NULL, NULL, &error)) {
            printf("%s: %s\n", STATEMENTS[i], error);
            return 2;
        }
    if (sqlite3_exec(db, "create table t (n integer primary key)", NULL, NULL, NULL)) return 3;
    if (sqlite3session_create(db, "main", &session)) return 4;
    sqlite3session_delete(session);
    sqlite3_preupdate_hook(db, NULL, NULL);
    sqlite3_unlock_notify(db, NULL, NULL);
    if (sqlite3_table_column_metadata(db, "main", "t", "n", &type, NULL, NULL, NULL, NULL)) return 5;
    if (sqlite3_enable_load_extension(db, 1)) return 6;
    if (!sqlite3_serialize(db, "main", &size, 0)) return 7;
    if (sqlite3_limit(db, SQLITE_LIMIT_VARIABLE_NUMBER, -1) != 250000) return 8;
    if (sqlite3_threadsafe() != 1 || !sqlite3_column_origin_name) return 9;
    puts(sqlite3_libversion());
    return 0;
}

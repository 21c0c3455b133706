#include <fcntl.h>
#include <gdbm.h>
#include <ndbm.h>
#include <stdio.h>
#include <string.h>

int main(void) {
    datum key = {"key", 3}, value = {"value", 5}, found;
    GDBM_FILE file = gdbm_open("one.gdbm", 0, GDBM_NEWDB, 0600, NULL);
    DBM *old = dbm_open("two", O_RDWR | O_CREAT, 0600);
    if (!file || gdbm_store(file, key, value, GDBM_INSERT)) return 1;
    found = gdbm_fetch(file, key);
    if (found.dsize != 5 || memcmp(found.dptr, "value", 5)) return 2;
    gdbm_close(file);
    if (!old || dbm_store(old, key, value, DBM_INSERT)) return 3;
    found = dbm_fetch(old, key);
    if (found.dsize != 5 || memcmp(found.dptr, "value", 5)) return 4;
    dbm_close(old);
    printf("%d.%d\n", gdbm_version_number[0], gdbm_version_number[1]);
    return 0;
}

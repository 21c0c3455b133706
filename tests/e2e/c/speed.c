/* speed KIND ONE OTHER ROUNDS: CPU seconds of ONE over those of OTHER, a line a round.

   Exit code 3: OTHER is missing. The process loads both libraries and is linked with neither. The
   libraries alternate as the first of a round. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SIZE = 1500000 };
static char text[SIZE], packed[2 * SIZE], back[SIZE];

static void *function(void *library, const char *name) {
    void *found = dlsym(library, name);
    if (!found) exit(fprintf(stderr, "no %s\n", name));
    return found;
}

static void check(int good) {
    if (!good) exit(fprintf(stderr, "wrong result\n"));
}

static void bzip2(void *library) {
    int (*pack)(char *, unsigned *, char *, unsigned, int, int, int) =
        function(library, "BZ2_bzBuffToBuffCompress");
    int (*unpack)(char *, unsigned *, char *, unsigned, int, int) =
        function(library, "BZ2_bzBuffToBuffDecompress");
    unsigned size = sizeof packed, end = sizeof back;
    check(pack(packed, &size, text, SIZE, 9, 0, 0) == 0);
    check(unpack(back, &end, packed, size, 0, 0) == 0 && !memcmp(text, back, SIZE));
}

static void zlib(void *library) {
    int (*pack)(char *, unsigned long *, char *, unsigned long, int) =
        function(library, "compress2");
    int (*unpack)(char *, unsigned long *, char *, unsigned long) =
        function(library, "uncompress");
    for (int i = 0; i < 2; i++) {
        unsigned long size = sizeof packed, end = sizeof back;
        check(pack(packed, &size, text, SIZE, 6) == 0);
        check(unpack(back, &end, packed, size) == 0 && !memcmp(text, back, SIZE));
    }
}

static void xz(void *library) {
    int (*pack)(uint32_t, int, void *, char *, size_t, char *, size_t *, size_t) =
        function(library, "lzma_easy_buffer_encode");
    int (*unpack)(uint64_t *, uint32_t, void *, char *, size_t *, size_t, char *, size_t *, size_t) =
        function(library, "lzma_stream_buffer_decode");
    uint64_t memory = UINT64_MAX;
    size_t size = 0, in = 0, out = 0;
    check(pack(3, 4, NULL, text, SIZE, packed, &size, sizeof packed) == 0);
    check(unpack(&memory, 0, NULL, packed, &in, size, back, &out, sizeof back) == 0);
    check(!memcmp(text, back, SIZE));
}

static void sqlite(void *library) {
    int (*open)(const char *, void **) = function(library, "sqlite3_open");
    int (*run)(void *, const char *, void *, void *, void *) = function(library, "sqlite3_exec");
    int (*close)(void *) = function(library, "sqlite3_close");
    void *db;
    check(open(":memory:", &db) == 0);
    check(run(db,
              "create table t (a integer primary key, b text, c real);"
              "with recursive n(i) as (select 1 union all select i + 1 from n where i < 60000)"
              " insert into t select i, 'text ' || (i * 7919 % 10007), i / 3.0 from n;"
              "create index k on t (b);"
              "select count(*), sum(c) from t group by b order by 2 desc;"
              "select sum(x.c + y.c) from t x join t y on x.b = y.b;"
              "delete from t where a % 3 = 0;",
              NULL, NULL, NULL) == 0);
    check(close(db) == 0);
}

static double seconds(void (*work)(void *), void *library) {
    struct timespec from, to;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    work(library);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    return to.tv_sec - from.tv_sec + (to.tv_nsec - from.tv_nsec) / 1e9;
}

int main(int count, char **words) {
    static const struct {
        const char *name;
        void (*work)(void *);
    } kinds[] = {{"bzip2", bzip2}, {"zlib", zlib}, {"xz", xz}, {"sqlite", sqlite}};
    void (*work)(void *) = NULL;
    void *one, *other;
    if (count != 5) return 2;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(words[1], kinds[i].name)) work = kinds[i].work;
    /* Load the host's library first: dlopen() by name returns a loaded library of that soname. */
    other = dlopen(words[3], RTLD_NOW | RTLD_LOCAL);
    if (!other) return 3;
    one = dlopen(words[2], RTLD_NOW | RTLD_LOCAL);
    if (!work || !one || one == other) return fprintf(stderr, "the same library\n"), 2;
    /* Words of a small alphabet, which compress neither badly nor perfectly. */
    srand(1);
    for (size_t i = 0; i < SIZE; i++) text[i] = rand() % 6 ? "etaoinsr"[rand() % 8] : ' ';
    for (size_t i = SIZE / 2; i + 64 < SIZE; i += 64)
        memcpy(text + i, text + (size_t)rand() % (SIZE / 2), 64);
    for (int i = 0; i < atoi(words[4]); i++) {
        double mine, theirs;
        if (i % 2) theirs = seconds(work, other), mine = seconds(work, one);
        else mine = seconds(work, one), theirs = seconds(work, other);
        printf("%.3f\n", mine / theirs);
    }
    return 0;
}

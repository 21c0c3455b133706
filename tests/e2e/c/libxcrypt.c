#define _GNU_SOURCE
#include <crypt.h>
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

static const char *PREFIXES[] = {"$y$", "$gy$", "$7$", "$2b$", "$2a$", "$2y$", "$6$", "$5$",
                                 "$sha1", "$md5", "$1$", "_", "$3$", ""};

int main(void) {
    struct crypt_data data = {0};
    char hash[CRYPT_OUTPUT_SIZE];
    const char *again;
    size_t i;
    for (i = 0; i < sizeof PREFIXES / sizeof *PREFIXES; i++) {
        char *salt = crypt_gensalt(PREFIXES[i], 0, NULL, 0);
        again = salt ? crypt_r("secret", salt, &data) : NULL;
        if (!again || again[0] == '*') return printf("%s: no hash\n", PREFIXES[i]), 1;
        strcpy(hash, again);
        again = crypt_r("secret", hash, &data);
        if (strcmp(hash, again)) return printf("%s: another hash\n", PREFIXES[i]), 2;
        again = crypt_r("wrong", hash, &data);
        if (!strcmp(hash, again)) return printf("%s: any password will do\n", PREFIXES[i]), 3;
    }
    if (strcmp(crypt("rasmuslerdorf", "rl"), "rl.3StKT.4T8M")) return 4;
    if (strcmp(crypt("rasmuslerdorf", "$1$rasmusle$"), "$1$rasmusle$rISCgZzpwk3UhDidwXvin0")) return 5;
    /* The symbol version that programs linked with glibc's libcrypt need. */
#ifdef __x86_64__
    if (!dlvsym(RTLD_DEFAULT, "encrypt", "GLIBC_2.2.5")) return 6;
#else
    if (!dlvsym(RTLD_DEFAULT, "encrypt", "GLIBC_2.17")) return 6;
#endif
    /* A failure returns a text that is no hash, never NULL, as old programs expect. */
    if (crypt("x", "*")[0] != '*') return 7;
    puts("ok");
    return 0;
}

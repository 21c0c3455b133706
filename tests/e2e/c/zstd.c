#include <stdio.h>
#include <string.h>
#include <zstd.h>

int main(void) {
    static char text[3000000], packed[4000000], back[3000000];
    ZSTD_CCtx *context = ZSTD_createCCtx();
    size_t size;
    memset(text, 'a', sizeof text);
    /* A library without threads refuses this parameter. */
    if (ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_nbWorkers, 2))) return 1;
    size = ZSTD_compress2(context, packed, sizeof packed, text, sizeof text);
    if (ZSTD_isError(size)) return 2;
    if (ZSTD_decompress(back, sizeof back, packed, size) != sizeof text) return 3;
    if (memcmp(text, back, sizeof text)) return 4;
    puts(ZSTD_versionString());
    return 0;
}

#include <lzma.h>
#include <stdio.h>
#include <string.h>

int main(void) {
    static uint8_t text[100000], packed[200000], back[100000];
    size_t in = 0, out = 0, end = 0;
    uint64_t memory = UINT64_MAX;
    lzma_mt threads = {.threads = 2, .preset = 6, .check = LZMA_CHECK_SHA256};
    lzma_stream stream = LZMA_STREAM_INIT;
    memset(text, 'a', sizeof text);
    if (lzma_stream_encoder_mt(&stream, &threads) != LZMA_OK) return 1;
    stream.next_in = text, stream.avail_in = sizeof text;
    stream.next_out = packed, stream.avail_out = sizeof packed;
    if (lzma_code(&stream, LZMA_FINISH) != LZMA_STREAM_END) return 2;
    end = sizeof packed - stream.avail_out;
    lzma_end(&stream);
    if (lzma_stream_buffer_decode(&memory, 0, NULL, packed, &in, end, back, &out, sizeof back)) return 3;
    if (out != sizeof text || memcmp(text, back, out)) return 4;
    puts(lzma_version_string());
    return 0;
}

/* goodinit's normal values in plain C: docs/streams.md in a few lines.

   cc -O2 -ffp-contract=off stream.c -lm && ./a.out key0 key1 high0 high1 scale loc first count

   prints the float32 values of the elements first, first + 1, ... in hexadecimal. The four words of
   the key are the first 16 bytes of a SHA-256, little-endian; goodinit.streams.make_key shows them. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static const float L[] = {-0x1.a4ecb6p-6f, 0x1.19c0dcp-2f, -0x1.4455p+0f, 0x1.a4ad38p+1f, -0x1.55e34ap+2f,
                          0x1.873aep+2f};
static const float P[] = {0x1.744bcep-63f, 0x1.76b0dep-57f, 0x1.93506p-53f, -0x1.2669b2p-49f, -0x1.cb597p-44f,
                          -0x1.0b5576p-40f, 0x1.caac52p-38f, 0x1.f44c6ep-33f,
                          0x1.9beb4p-29f, 0x1.12b5eep-25f, 0x1.a5eb96p-23f, -0x1.4b3dbp-19f,
                          -0x1.fbe656p-14f, -0x1.d9a8c2p-9f, -0x1.69499ap-3f, 0x1.d68fdp+1f};

static uint32_t word(const uint32_t key[4], uint64_t index) {
    uint64_t block = index / 4;
    uint32_t c[] = {(uint32_t)block, (uint32_t)(block >> 32), key[2], key[3]}, k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++, k0 += 0x9E3779B9, k1 += 0xBB67AE85) {
        uint64_t a = (uint64_t)c[0] * 0xD2511F53, b = (uint64_t)c[2] * 0xCD9E8D57;
        c[0] = (uint32_t)(b >> 32) ^ c[1] ^ k0, c[1] = (uint32_t)b;
        c[2] = (uint32_t)(a >> 32) ^ c[3] ^ k1, c[3] = (uint32_t)a;
    }
    return c[index % 4];
}

static float normal(uint32_t word) {
    int32_t n = (int32_t)((int64_t)word - ((int64_t)1 << 31)) | 1, exponent;
    float c = (float)(int32_t)(((int64_t)1 << 31) - llabs(n));
    float m = 2 * frexpf(c * fmaf(c, -0x1p-54f, 0x1p-22f), &exponent), z = L[0], t;
    for (int k = 1; k < 6; k++)
        z = fmaf(z, m, L[k]);
    t = fmaf(z, m, (float)(exponent - 1));
    z = P[0];
    for (int k = 1; k < 16; k++)
        z = fmaf(z, t, P[k]);
    return z * ((float)n * 0x1p-31f);
}

int main(int count, char **given) {
    if (count != 9)
        return 2;
    uint32_t key[4];
    for (int i = 0; i < 4; i++)
        key[i] = (uint32_t)strtoul(given[1 + i], NULL, 0);
    float scale = strtof(given[5], NULL), loc = strtof(given[6], NULL);
    uint64_t first = strtoull(given[7], NULL, 0), values = strtoull(given[8], NULL, 0);
    for (uint64_t i = first; i < first + values; i++) {
        float scaled = normal(word(key, i)) * scale; /* rounded, then the sum is */
        printf("%a\n", scaled + loc);
    }
}

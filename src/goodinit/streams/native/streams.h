// What the units of the library share: types, sizes, the table of kernels of an instruction set.
#pragma once

#include <cfloat>
#include <cstdint>

#if defined(__FAST_MATH__)
#error "the streams need IEEE arithmetic: build without -ffast-math"
#endif
#if FLT_EVAL_METHOD != 0
#error "the streams need float arithmetic without excess precision: build with SSE2"
#endif
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the library is for little-endian machines"
#endif

constexpr int BLOCKS = 256;         // of four words, in a tile
constexpr int WORDS = 4 * BLOCKS;   // 4 KB: a tile stays in the first cache
constexpr int BATCH = 64;           // blocks, of which a Draw takes a multiple
constexpr int PADDING = 512;        // bytes that a kernel may read behind a tile

enum Kind : uint32_t { NORMAL, UNIFORM, TRUNCATED, BOUNDED, SYMMETRIC, KINDS };
enum Type : uint32_t { FLOAT32, BFLOAT16, FLOAT16, FLOAT64, TYPES };

struct Key {
    uint32_t key0, key1, high0, high1;
};

// value = loc + scale * z, rounded after the product and after the sum. A truncated law's word u
// becomes lo + (u * width >> 32); BOUNDED is a truncated law whose width is 2^32, so that the word
// stays as it is. SYMMETRIC is a uniform law whose loc is 0. Bounds: not of NORMAL.
struct Law {
    uint32_t kind;
    float scale, loc, low, high;
    uint32_t lo, width;
};

// Write the value of each of `count` words. May read PADDING bytes behind the words.
using Transform = void (*)(const Law &, const uint32_t *words, int count, void *out);

// Write the values of blocks that follow one another, 4 of each. Their numbers have the same high
// word, and their count is a multiple of BATCH. The words stay in registers.
using Draw = void (*)(const Key &, const Law &, uint64_t block, int64_t count, void *out);

struct Kernels {
    const char *name;
    // Write four words for each block. May do so for up to 63 blocks more, none behind a tile.
    void (*philox)(const Key &, const uint64_t *blocks, int count, uint32_t *words);
    Transform transform[KINDS][TYPES];
    Draw draw[KINDS][TYPES]; // null where only tiles are drawn
};

extern const Kernels portable_kernels, avx2_kernels, avx512_kernels, neon_kernels;

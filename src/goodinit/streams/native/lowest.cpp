// Zeros where the lowest numbers of each column are: sparse matrices.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "streams.h"

namespace {

constexpr int GROUP = 8; // columns that are looked at together for numbers near the quantile

using Four = int32_t __attribute__((vector_size(16)));

// A number from 0 to 1 and its row. Bits of such floats are in the order of the floats, and of
// equal ones the first row is the lower.
uint64_t ranked(int32_t bits, int64_t row) { return uint64_t(uint32_t(bits)) << 32 | uint32_t(row); }

int32_t bits_of(double x) {
    float f = float(x < 0 ? 0 : x > 1 ? 1 : x);
    int32_t bits;
    std::memcpy(&bits, &f, sizeof bits);
    return bits;
}

// What is known of each column after one look: how many numbers lie below the window, and those
// inside of it, as far as there is room.
struct Columns {
    int64_t rows, columns, room;
    int32_t low, high;
    int32_t *below, *found; // [columns]
    uint64_t *near; // [columns][room]
};

// Count those of a row's next GROUP columns that lie below the window; return whether any is in it.
bool look_at(const Columns &c, const int32_t *chance, int32_t *below) {
    Four inside = {};
    for (int j = 0; j < GROUP; j += 4) {
        Four x, sum;
        std::memcpy(&x, chance + j, sizeof x);
        std::memcpy(&sum, below + j, sizeof sum);
        const Four under = x < c.low; // -1 where it is
        sum -= under;
        inside |= (x <= c.high) ^ under;
        std::memcpy(below + j, &sum, sizeof sum);
    }
    return inside[0] | inside[1] | inside[2] | inside[3];
}

void keep_near(const Columns &c, const int32_t *chance, int64_t row, int64_t from, int64_t stop) {
    for (int64_t j = from; j < stop; j++) {
        if (chance[j] < c.low || chance[j] > c.high)
            continue;
        if (c.found[j] < c.room)
            c.near[j * c.room + c.found[j]] = ranked(chance[j], row);
        c.found[j]++;
    }
}

void look(const Columns &c, const int32_t *chance) {
    for (int64_t row = 0; row < c.rows; row++, chance += c.columns) {
        int64_t j = 0;
        for (; j + GROUP <= c.columns; j += GROUP)
            if (look_at(c, chance + j, c.below + j))
                keep_near(c, chance, row, j, j + GROUP);
        for (int64_t i = j; i < c.columns; i++)
            c.below[i] += chance[i] < c.low;
        keep_near(c, chance, row, j, c.columns);
    }
}

// The last of the `count` lowest of a column, ranked.
uint64_t last_of(const Columns &c, const int32_t *chance, int64_t column, int64_t count, uint64_t *all) {
    uint64_t *from = c.near + column * c.room;
    int64_t wanted = count - c.below[column], found = c.found[column];
    if (wanted < 1 || wanted > found || found > c.room) { // seldom: the window is elsewhere
        from = all;
        wanted = count, found = c.rows;
        for (int64_t row = 0; row < c.rows; row++)
            all[row] = ranked(chance[row * c.columns + column], row);
    }
    std::nth_element(from, from + wanted - 1, from + found);
    return from[wanted - 1];
}

// No branch: the numbers are as good as tossed.
void zero(float *__restrict values, const int32_t *__restrict bits, const int32_t *__restrict last,
          const int32_t *__restrict last_row, int32_t row, int64_t columns) {
    for (int64_t j = 0; j < columns; j++) {
        const bool lowest = (bits[j] < last[j]) | ((bits[j] == last[j]) & (row <= last_row[j]));
        values[j] = lowest ? 0.0f : values[j];
    }
}

} // namespace

extern "C" {
#pragma GCC visibility push(default)

// Write 0 where `chance` is among the `count` lowest of its column. Rows of `values` are `stride`
// apart, those of `chance` one after the other. Returns 0 if done, 1 if nothing was written.
int goodinit_zero_lowest(float *values, int64_t stride, const float *chance, int64_t rows,
                         int64_t columns, int64_t count) {
    if (rows < 1 || rows > INT32_MAX || columns < 1 || count < 1 || count > rows)
        return 1;
    // Three standard deviations of the number of lower ones, on either side of the quantile.
    const double share = double(count) / double(rows);
    const double spread = 3 * std::sqrt(share * (1 - share) / double(rows)) + 1 / double(rows);
    Columns c{rows, columns, int64_t(3 * spread * double(rows)) + 16, bits_of(share - spread),
              bits_of(share + spread), nullptr, nullptr, nullptr};
    const size_t width = size_t(columns);
    auto *near = static_cast<uint64_t *>(std::malloc(sizeof(uint64_t) * width * size_t(c.room)));
    auto *all = static_cast<uint64_t *>(std::malloc(sizeof(uint64_t) * size_t(rows)));
    auto *counts = static_cast<int32_t *>(std::calloc(4 * width, sizeof(int32_t)));
    const bool can = near && all && counts;
    if (can) {
        c.near = near, c.below = counts, c.found = counts + width;
        int32_t *last = counts + 2 * width, *last_row = counts + 3 * width;
        auto *bits = reinterpret_cast<const int32_t *>(chance);
        look(c, bits);
        for (int64_t j = 0; j < columns; j++) {
            const uint64_t end = last_of(c, bits, j, count, all);
            last[j] = int32_t(end >> 32), last_row[j] = int32_t(end);
        }
        for (int64_t row = 0; row < rows; row++, values += stride, bits += columns)
            zero(values, bits, last, last_row, int32_t(row), columns);
    }
    std::free(near), std::free(all), std::free(counts);
    return can ? 0 : 1;
}
#pragma GCC visibility pop
}

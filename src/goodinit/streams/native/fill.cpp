// The C interface: which kernels, which elements, how many threads.
#include <pthread.h>

#include <atomic>
#include <cstring>

#include "streams.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace {

constexpr int MOST_THREADS = 256, MOST_AXES = 80;

// Elements that a thread takes at a time. Less is not worth starting a thread for; with more,
// the last thread would be waited for.
constexpr int64_t LEAST_CHUNK = 1 << 15, MOST_CHUNK = 1 << 19;

// One axis of what is drawn: how far a step along it leads in the parameter's row-major order, and
// in the tensor's memory. Both count elements.
struct Axis {
    int64_t size, step, stride;
};

// What is asked for. `count` axes follow, all sizes positive, the last step 1.
struct Request {
    uint64_t out; // address of the box's first element,
    int64_t first; // and its row-major index
    Key key;
    Law law;
    uint32_t type, instructions; // a number of find_kernels
    int32_t threads, count, nothing;
};

static_assert(sizeof(Request) == 80 && sizeof(Axis) == 24, "no gaps: Python packs them");

struct Job {
    char *out;
    Key key;
    Law law;
    const Kernels *kernels;
    Transform transform;
    Draw draw; // may be null
    int item; // bytes of an element
    int64_t first; // row-major index of the first element
    const Axis *axes;
    int count;
    int64_t total, chunk;
    std::atomic<int64_t> next{0};
};

// Some elements in runs of consecutive row-major indices: drawn together, then written.
class Tile {
  public:
    explicit Tile(const Job &job) : job(job) {}

    // Take up to `count` elements of the run that begins at `index`, written from `offset` on,
    // and return how many there was room for.
    int take(int64_t index, int64_t offset, int64_t count) {
        const uint64_t block = uint64_t(index) >> 2;
        const int within = int(index & 3);
        const int start = used && blocks[used - 1] == block ? used - 1 : used;
        const int room = 4 * (BLOCKS - start) - within;
        int n = WORDS - held < room ? WORDS - held : room;
        n = count < n ? int(count) : n;
        if (n <= 0)
            return 0;
        const int stop = start + ((within + n + 3) >> 2);
        for (uint64_t b = block + uint64_t(used - start); used < stop; used++, b++)
            blocks[used] = b;
        const int from = 4 * start + within;
        if (runs) {
            const Run &last = run[runs - 1];
            dense = dense && from == last.from + last.count;
            joined = joined && offset == last.offset + last.count;
        }
        run[runs++] = {offset, from, n};
        held += n;
        return n;
    }

    // Write what was taken; a step in memory within a run is `stride`.
    void write(int64_t stride) {
        if (!held)
            return;
        job.kernels->philox(job.key, blocks, used, words);
        const uint32_t *from = words + run[0].from;
        if (!dense) {
            uint32_t *to = packed;
            for (int r = 0; r < runs; r++)
                for (int i = 0; i < run[r].count; i++)
                    *to++ = words[run[r].from + i];
            from = packed;
        }
        if (joined && (stride == 1 || held == runs)) {
            job.transform(job.law, from, held, job.out + run[0].offset * job.item);
        } else {
            job.transform(job.law, from, held, values);
            if (job.item == 2)
                scatter<uint16_t>(stride);
            else if (job.item == 4)
                scatter<uint32_t>(stride);
            else
                scatter<uint64_t>(stride);
        }
        used = runs = held = 0;
        dense = joined = true;
    }

  private:
    struct Run {
        int64_t offset;
        int from, count;
    };

    template <class T> void scatter(int64_t stride) {
        const T *from = reinterpret_cast<const T *>(values);
        for (int r = 0; r < runs; r++) {
            T *to = reinterpret_cast<T *>(job.out) + run[r].offset;
            for (int i = 0; i < run[r].count; i++)
                to[i * stride] = *from++;
        }
    }

    const Job &job;
    int used = 0, runs = 0, held = 0; // blocks, runs, elements
    bool dense = true, joined = true; // the words, the elements in memory, follow one another
    alignas(64) uint64_t blocks[BLOCKS];
    alignas(64) uint32_t words[WORDS + PADDING / 4];
    alignas(64) uint32_t packed[WORDS + PADDING / 4];
    alignas(64) char values[WORDS * 8];
    Run run[WORDS];
};

// Write whole batches of a long run without a tile, and return how many elements. Runs that fit
// into a tile are drawn there, several at once.
int64_t draw(const Job &job, int64_t index, int64_t offset, int64_t count) {
    constexpr int64_t PERIOD = int64_t(1) << 32; // of the low word of a block's number
    const int64_t block = index >> 2, room = PERIOD - block % PERIOD;
    const int64_t blocks = (count / 4 < room ? count / 4 : room) / BATCH * BATCH;
    if (!job.draw || index % 4 || blocks < BLOCKS)
        return 0;
    job.draw(job.key, job.law, uint64_t(block), blocks, job.out + offset * job.item);
    return 4 * blocks;
}

// Draw the elements begin, ..., end - 1 of the walk over the axes, the last one innermost.
void walk(const Job &job, int64_t begin, int64_t end) {
    Tile tile(job);
    const int inner = job.count - 1;
    const Axis &run = job.axes[inner];
    int64_t at[MOST_AXES], index = job.first, offset = 0, rest = begin;
    for (int a = inner; a >= 0; a--) {
        at[a] = rest % job.axes[a].size;
        rest /= job.axes[a].size;
        index += at[a] * job.axes[a].step;
        offset += at[a] * job.axes[a].stride;
    }
    for (int64_t left = end - begin; left;) {
        int64_t count = run.size - at[inner] < left ? run.size - at[inner] : left;
        int64_t n = run.stride == 1 ? draw(job, index, offset, count) : 0;
        if (!n) {
            n = tile.take(index, offset, count);
            if (n < count)
                tile.write(run.stride);
        }
        left -= n;
        at[inner] += n;
        index += n;
        offset += n * run.stride;
        for (int a = inner; a > 0 && at[a] == job.axes[a].size; a--) {
            at[a] = 0;
            at[a - 1]++;
            index += job.axes[a - 1].step - job.axes[a].size * job.axes[a].step;
            offset += job.axes[a - 1].stride - job.axes[a].size * job.axes[a].stride;
        }
    }
    tile.write(run.stride);
}

void *work(void *given) {
    Job &job = *static_cast<Job *>(given);
    for (;;) {
        int64_t begin = job.next.fetch_add(1, std::memory_order_relaxed) * job.chunk;
        if (begin >= job.total)
            return nullptr;
        walk(job, begin, job.total - begin < job.chunk ? job.total : begin + job.chunk);
    }
}

constexpr int CHOICES = 4;
#if defined(__x86_64__)
bool has_f16c() {
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c >> 29 & 1);
}

const Kernels *const table[CHOICES] = {&portable_kernels, &avx2_kernels, &avx512_kernels, nullptr};
#elif defined(__aarch64__)
const Kernels *const table[CHOICES] = {&portable_kernels, nullptr, nullptr, &neon_kernels};
#else
const Kernels *const table[CHOICES] = {&portable_kernels, nullptr, nullptr, nullptr};
#endif

// The kernels with a number from 1, the slowest first; null if this machine can't run them.
const Kernels *kernels_of(int number) {
    bool can = number >= 1 && number <= CHOICES;
#if defined(__x86_64__)
    __builtin_cpu_init(); // these look at what the operating system saves, too
    if (number == 2)
        can = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
    if (number == 3)
        can = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq");
#endif
    return can ? table[number - 1] : nullptr;
}

// The kernels with this number, the best for 0.
const Kernels *find_kernels(int number) {
    static std::atomic<int> best{0}; // asking the processor may take longer than a small fill
    if (number)
        return kernels_of(number);
    int known = best.load(std::memory_order_relaxed);
    for (int n = CHOICES; !known; n--)
        if (kernels_of(n))
            best.store(known = n, std::memory_order_relaxed);
    return table[known - 1];
}

} // namespace

extern "C" {
#pragma GCC visibility push(default)

// Grows whenever a signature, a struct or a number of the instruction sets changes.
int goodinit_interface() { return 4; }

// The name of the instruction set with this number, of the best for 0; null if it can't run here.
const char *goodinit_instructions(int number) {
    const Kernels *kernels = find_kernels(number);
    return kernels ? kernels->name : nullptr;
}

// Write a box: one argument, for each costs ctypes more than a small fill takes. Returns 0 if done.
int goodinit_fill(const void *request) {
    static const int items[] = {4, 2, 2, 8};
    Request given;
    std::memcpy(&given, request, sizeof given);
    Axis axes[MOST_AXES];
    Job job;
    job.kernels = find_kernels(int(given.instructions));
    if (!job.kernels || given.type >= TYPES || given.law.kind >= KINDS || given.count < 1 ||
        given.count > MOST_AXES)
        return 1;
    std::memcpy(axes, static_cast<const char *>(request) + sizeof given,
                sizeof(Axis) * size_t(given.count));
    job.key = given.key;
    job.law = given.law;
    job.transform = job.kernels->transform[given.law.kind][given.type];
    job.draw = job.kernels->draw[given.law.kind][given.type];
    job.out = reinterpret_cast<char *>(given.out);
    job.item = items[given.type];
    job.first = given.first;
    job.axes = axes;
    job.count = given.count;
    int threads = given.threads;
    job.total = 1;
    for (int a = 0; a < job.count; a++)
        job.total *= job.axes[a].size;
    job.chunk = job.total;
    pthread_t started[MOST_THREADS];
    int running = 0;
    if (threads > 1 && job.total >= 2 * LEAST_CHUNK) {
        int64_t chunk = job.total / (4 * threads); // several, for a thread may be held up
        chunk = chunk < LEAST_CHUNK ? LEAST_CHUNK : chunk > MOST_CHUNK ? MOST_CHUNK : chunk;
        job.chunk = (chunk + WORDS - 1) / WORDS * WORDS;
        int64_t chunks = (job.total + job.chunk - 1) / job.chunk;
        threads = threads < chunks ? threads : int(chunks);
        threads = threads < MOST_THREADS ? threads : MOST_THREADS;
        // A thread that can't be started is no loss: the others take its chunks.
        while (running < threads - 1 && !pthread_create(&started[running], nullptr, work, &job))
            running++;
    }
    work(&job);
    while (running)
        pthread_join(started[--running], nullptr);
    return 0;
}

// The four words of each of the blocks first, ..., first + count - 1, for tests.
int goodinit_philox(const unsigned char *key, int64_t first, int count, uint32_t *words, int number) {
    const Kernels *kernels = find_kernels(number);
    if (!kernels || count < 0 || count > BLOCKS)
        return 1;
    Key k;
    uint64_t blocks[BLOCKS];
    uint32_t all[WORDS];
    std::memcpy(&k, key, sizeof k);
    for (int i = 0; i < BLOCKS; i++)
        blocks[i] = uint64_t(first) + uint64_t(i);
    kernels->philox(k, blocks, count, all);
    std::memcpy(words, all, sizeof(uint32_t) * 4 * size_t(count));
    return 0;
}
#pragma GCC visibility pop
}

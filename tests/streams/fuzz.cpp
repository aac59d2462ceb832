// Random boxes, strides, offsets, laws, types and threads through the C interface, for `make
// sanitize`. The memory is as large as the tensor and no larger, so that AddressSanitizer sees any
// write beside it; every instruction set must write what the portable one writes, and nothing else.
// The hash of all that was written is the same on every machine.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

extern "C" int goodinit_fill(const void *request);
extern "C" const char *goodinit_instructions(int number);

struct Axis {
    int64_t size, step, stride;
};

// fill.cpp's Request; its size is checked there.
struct Request {
    uint64_t out;
    int64_t first;
    uint32_t key[4];
    uint32_t kind;
    float scale, loc, low, high;
    uint32_t lo, width;
    uint32_t type, instructions;
    int32_t threads, count, nothing;
};
static_assert(sizeof(Request) == 80 && sizeof(Axis) == 24, "as in fill.cpp");

static std::mt19937_64 random_numbers(1);

static int64_t upto(int64_t most) { return int64_t(random_numbers() % uint64_t(most + 1)); }

int main(int argc, char **argv) {
    const int rounds = argc > 1 ? std::atoi(argv[1]) : 10000;
    const int items[] = {4, 2, 2, 8};
    int64_t values = 0;
    uint64_t hash = 0xCBF29CE484222325; // FNV-1a
    for (int round = 0; round < rounds; round++) {
        // A box of a parameter, its axes in the memory in another order, some with gaps.
        const int count = 1 + int(upto(3));
        const int64_t most = upto(20) ? 12 : 3000;
        std::vector<Axis> axes(static_cast<size_t>(count));
        int64_t step = 1, total = 1;
        for (int a = count - 1; a >= 0; a--) {
            axes[size_t(a)].size = 1 + upto(a == count - 1 ? most : 11);
            axes[size_t(a)].step = step;
            step *= axes[size_t(a)].size + upto(5);
            total *= axes[size_t(a)].size;
        }
        std::vector<int> order;
        for (int a = 0; a < count; a++)
            order.insert(order.begin() + upto(a), a);
        int64_t reach = 1;
        for (int a : order) {
            axes[size_t(a)].stride = reach * (1 + upto(2));
            reach = axes[size_t(a)].stride * axes[size_t(a)].size;
        }
        int64_t last = 0;
        for (const Axis &axis : axes)
            last += (axis.size - 1) * axis.stride;

        Request request{};
        request.first = upto(4) ? upto(100) : upto(int64_t(1) << 62);
        for (uint32_t &word : request.key)
            word = uint32_t(random_numbers());
        request.kind = uint32_t(upto(4));
        request.scale = 0.5f, request.loc = 0.25f, request.low = -0.5f, request.high = 0.4f;
        request.lo = uint32_t(upto(1 << 20)), request.width = uint32_t(upto(INT32_MAX)) + 1;
        request.type = uint32_t(upto(3));
        request.threads = 1 + int32_t(upto(4));
        request.count = count;

        const size_t bytes = size_t(last + 1) * size_t(items[request.type]);
        std::vector<char> wanted;
        for (uint32_t number = 1; number <= 4; number++) {
            if (!goodinit_instructions(int(number)))
                continue;
            char *memory = static_cast<char *>(std::malloc(bytes));
            std::memset(memory, 0x55, bytes);
            request.out = reinterpret_cast<uint64_t>(memory);
            request.instructions = number;
            std::vector<char> sent(sizeof request + sizeof(Axis) * axes.size());
            std::memcpy(sent.data(), &request, sizeof request);
            std::memcpy(sent.data() + sizeof request, axes.data(), sizeof(Axis) * axes.size());
            if (goodinit_fill(sent.data())) {
                std::printf("round %d: refused\n", round);
                return 1;
            }
            if (wanted.empty())
                wanted.assign(memory, memory + bytes);
            else if (std::memcmp(wanted.data(), memory, bytes)) {
                std::printf("round %d: %s differs\n", round, goodinit_instructions(int(number)));
                return 1;
            }
            std::free(memory);
        }
        values += total;
        for (char byte : wanted)
            hash = (hash ^ uint8_t(byte)) * 0x100000001B3;
    }
    for (int number = 1; number <= 4; number++)
        if (goodinit_instructions(number))
            std::printf("%s, ", goodinit_instructions(number));
    std::printf("%d boxes, %lld values: no fault, all alike\nhash %016llx\n", rounds,
                static_cast<long long>(values), static_cast<unsigned long long>(hash));
}

// Philox for units that hold the words of several vectors of blocks in registers, in a `struct
// Philox`; each includes this file once, behind that struct. LANES blocks make a vector.
namespace {

constexpr int STEP = Philox::K * Philox::LANES;
static_assert(BLOCKS % STEP == 0 && BATCH % STEP == 0, "none is written behind a tile or a batch");

void philox(const Key &key, const uint64_t *blocks, int count, uint32_t *words) {
    constexpr int K = Philox::K;
    Philox generator(key);
    for (int at = 0; at < count; at += STEP) {
        V::I products[K], high[K], u[2 * K];
        EACH {
            V::I block = V::load(blocks + at + i * Philox::LANES);
            products[i] = V::multiply(block, A);
            high[i] = V::high(block);
        }
        generator.words(products, high, u);
        for (int i = 0; i < 2 * K; i++)
            V::save(words + 4 * at + i * V::WIDTH, u[i]);
    }
}

// The first product of a block exceeds that of the block before it by A. That the high words are
// the same lets the compiler compute half of the second round once.
template <uint32_t kind, uint32_t type, class T>
void draw(const Key &key, const Law &given, uint64_t block, int64_t count, void *to) {
    constexpr int K = V::UNROLL, N = Philox::K;
    const Law law = given; // so that no store to `to` can change it
    Philox generator(key);
    T *out = static_cast<T *>(to);
    uint64_t first[Philox::LANES];
    for (int i = 0; i < Philox::LANES; i++)
        first[i] = block + uint64_t(i);
    V::I product = V::multiply(V::load(first), A);
    const V::I same = V::high(V::load(first)), step = V::wide(uint64_t(A) * Philox::LANES);
    for (; count > 0; count -= STEP) {
        V::I products[N], high[N], u[2 * N];
        for (int i = 0; i < N; i++) {
            products[i] = product;
            high[i] = same;
            product = V::add_wide(product, step);
        }
        generator.words(products, high, u);
        for (int from = 0; from < 2 * N; from += K, out += K * V::WIDTH) {
            V::I v[K];
            V::F z[K];
            EACH v[i] = u[from + i];
            sample<kind, K>(law, v, z);
            EACH V::template store<type>(out + i * V::WIDTH, z[i]);
        }
    }
}

} // namespace

/* One decoding step of a decoder in one call, and the matrix product of its quantised layers, for the CPU it is compiled on.
 *
 * Built and loaded by native.py. Matrices come in blocks of 16 output rows; sixteen lanes of a vector are sixteen rows, so that no
 * sum crosses lanes. Activations are quantised for each token in groups of 32: q = round(x / s), s = max|x| / 127.
 *
 *   kind 0  float  [out][in], as torch keeps it
 *   kind 1  int8   [out/16][in/4][16][4] bytes q + 128; weight = scale[out] * q
 *   kind 2  int4   [out/16][in/32][4][64] bytes: of quad v in the low nibbles, of quad v + 4 in the high ones; weight = scale *
 *                  q + low, both fp16 [out/16][in/32][2][16]
 *
 * `in` and `out` are padded with zeros to 32 and 16. Work is cut into phases and chunks: threads take chunks as they come, and
 * whoever ends a phase's last chunk opens the next, so a thread that the machine takes away holds up one chunk at most. Waiting
 * threads look for about ten microseconds, then sleep.
 */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#define RELAX() _mm_pause()
#elif defined(__aarch64__)
#define RELAX() __asm__ volatile("yield")
#else
#define RELAX() ((void)0)
#endif

#define GROUP 32
#define BLOCK 16
#define TILE 8 /* tokens that share one reading of a block */
#define AHEAD 4096 /* bytes asked for before they are needed: the processor's own prefetching ends at each page */
#define INLINE static inline __attribute__((always_inline))

typedef float F16 __attribute__((vector_size(64)));
typedef int32_t I16 __attribute__((vector_size(64)));
typedef uint8_t B64 __attribute__((vector_size(64)));

/* ---- vectors of sixteen ---- */

INLINE F16 load(const float *p) { F16 v; memcpy(&v, p, 64); return v; }
INLINE void store(float *p, F16 v) { memcpy(p, &v, 64); }
INLINE B64 bytes(const uint8_t *p) { B64 v; memcpy(&v, p, 64); return v; }
INLINE F16 all(float x) { return (F16){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }
INLINE I16 alli(int32_t x) { return (I16){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }
INLINE F16 floats(I16 v) { return __builtin_convertvector(v, F16); }

INLINE float sum(F16 v) {
#if defined(__AVX512F__)
    return _mm512_reduce_add_ps((__m512)v);
#else
    float a[16];
    store(a, v);
    for (int n = 8; n; n /= 2) for (int i = 0; i < n; i++) a[i] += a[i + n];
    return a[0];
#endif
}

INLINE F16 pick(I16 mask, F16 yes, F16 no) { return (F16)((mask & (I16)yes) | (~mask & (I16)no)); }

/* e to the x: 2^n times a polynomial (Cephes' expf); below -87 it is 0 for our purposes, above 88 it is held. */
INLINE F16 exps(F16 x) {
    x = pick(x < all(-87.0f), all(-87.0f), pick(x > all(88.0f), all(88.0f), x));
    F16 shifted = x * 1.44269504f + 12582912.0f, n = shifted - 12582912.0f;
    F16 r = x - n * 0.693359375f + n * 2.12194440e-4f;
    F16 p = ((((1.9875691500e-4f * r + 1.3981999507e-3f) * r + 8.3334519073e-3f) * r + 4.1665795894e-2f) * r + 1.6666665459e-1f) * r;
    p = (p + 5.0000001201e-1f) * r * r + r + 1.0f;
    return p * (F16)(((I16)shifted - 0x4b400000 + 127) << 23);
}

INLINE F16 tanhs(F16 x) { return 1.0f - 2.0f / (exps(2.0f * x) + 1.0f); }

/* acc[i] += sum over j of weights[4 i + j] (unsigned) * four[j] (signed) */
INLINE I16 dot4(I16 acc, B64 weights, const int8_t *four) {
    int32_t word;
    memcpy(&word, four, 4);
#if defined(__AVX512VNNI__)
    return (I16)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)weights, _mm512_set1_epi32(word));
#elif defined(__AVX2__)
    union { I16 i; __m256i m[2]; } a = {acc};
    union { B64 b; __m256i m[2]; } w = {weights};
    __m256i x = _mm256_set1_epi32(word);
    for (int h = 0; h < 2; h++) {
#if defined(__AVXVNNI__)
        a.m[h] = _mm256_dpbusd_avx_epi32(a.m[h], w.m[h], x);
#else /* exact: the 16-bit products cannot overflow, those of maddubs could */
        __m256i low = _mm256_set1_epi16(255), ones = _mm256_set1_epi16(1);
        __m256i even = _mm256_mullo_epi16(_mm256_and_si256(w.m[h], low), _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8));
        __m256i odd = _mm256_mullo_epi16(_mm256_srli_epi16(w.m[h], 8), _mm256_srai_epi16(x, 8));
        a.m[h] = _mm256_add_epi32(a.m[h], _mm256_add_epi32(_mm256_madd_epi16(even, ones), _mm256_madd_epi16(odd, ones)));
#endif
    }
    return a.i;
#else
    for (int i = 0; i < 16; i++)
        for (int j = 0; j < 4; j++) acc[i] += (int32_t)weights[4 * i + j] * four[j];
    return acc;
#endif
}

INLINE F16 halves(const uint16_t *p) {
#if defined(__AVX512F__)
    return (F16)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
#else
    F16 v;
    for (int i = 0; i < 16; i++) {
        uint32_t sign = (uint32_t)(p[i] & 0x8000) << 16, rest = p[i] & 0x7fff;
        float value;
        if (rest < 0x400) value = (float)rest * 5.9604644775390625e-8f;
        else { uint32_t b = (rest << 13) + 0x38000000; memcpy(&value, &b, 4); }
        v[i] = sign ? -value : value;
    }
    return v;
#endif
}

INLINE float dot(const float *a, const float *b, int n) {
    F16 s0 = all(0), s1 = s0, s2 = s0, s3 = s0;
    int i = 0;
    for (; i + 64 <= n; i += 64) {
        s0 += load(a + i) * load(b + i); s1 += load(a + i + 16) * load(b + i + 16);
        s2 += load(a + i + 32) * load(b + i + 32); s3 += load(a + i + 48) * load(b + i + 48);
    }
    for (; i + 16 <= n; i += 16) s0 += load(a + i) * load(b + i);
    float total = sum((s0 + s1) + (s2 + s3));
    for (; i < n; i++) total += a[i] * b[i];
    return total;
}

/* ---- what Python describes (mirrored in native.py and step.py) ---- */

typedef struct {
    int32_t rank, which; /* row of Call.on that switches it */
    float strength;
    const float *down, *up; /* [rank][in], [out][rank] */
} Adapter;

typedef struct {
    int32_t kind, in, out, adapters;
    const void *weight, *scale;
    const float *bias;
    const Adapter *adapter;
} Linear;

typedef struct {
    Linear q, k, v, o, gate, up, down;
    const float *before_attention, *after_attention, *before_mlp, *after_mlp, *q_norm, *k_norm; /* NULL: no such norm */
    int32_t table, window; /* which rotary table; how many positions it sees, 0 for all */
} Layer;

typedef struct {
    int32_t layers, dim, heads, kv_heads, head_dim, inner, activation; /* 0 silu, 1 gelu, 2 gelu_tanh, 3 relu */
    float eps, offset, scale, softcap;
    const float *norm;
    const Layer *layer;
} Model;

typedef struct {
    int32_t rows, capacity;
    const float *embeds;
    float *hidden, *cache; /* cache [layer][2][row][kv_head][capacity][head_dim] */
    const int32_t *lengths, *positions;
    const float *cosines[2], *sines[2]; /* [position][head_dim] */
    const uint8_t *on;                  /* [which adapters][row] */
} Call;

/* ---- activations ---- */

typedef struct { /* rows of one input, in every form that the layers of a phase read */
    float *x;
    int8_t *q;
    float *scale, *total; /* of each group: s, and s times the sum of its q */
    int32_t *shift;       /* -128 times the sum of its q */
    int64_t width, padded, groups;
} Input;

static void quantize(Input in, int64_t row) {
    const float *x = in.x + row * in.width;
    for (int64_t g = 0; g < in.groups; g++) {
        float part[GROUP];
        int64_t left = in.width - g * GROUP, n = left < GROUP ? left : GROUP;
        if (n < GROUP) memset(part, 0, sizeof part);
        memcpy(part, x + g * GROUP, (size_t)n * 4);
        F16 a = load(part), b = load(part + 16), lo = pick(a < b, a, b), hi = pick(a < b, b, a);
        F16 top = pick(hi > -lo, hi, -lo);
        float most = 0, tops[16];
        store(tops, top);
        for (int i = 0; i < 16; i++) most = tops[i] > most ? tops[i] : most;
        float scale = most / 127.0f, by = most > 0 ? 127.0f / most : 0;
        a = a * by + 12582912.0f; b = b * by + 12582912.0f; /* rounds to even in the low bits */
        I16 ia = (I16)a - 0x4b400000, ib = (I16)b - 0x4b400000;
        I16 both = ia + ib;
        int8_t *q = in.q + row * in.padded + g * GROUP;
        int32_t total = 0;
        for (int i = 0; i < 16; i++) total += both[i];
#if defined(__AVX512F__)
        _mm_storeu_si128((__m128i *)q, _mm512_cvtepi32_epi8((__m512i)ia));
        _mm_storeu_si128((__m128i *)(q + 16), _mm512_cvtepi32_epi8((__m512i)ib));
#else
        for (int i = 0; i < 16; i++) { q[i] = (int8_t)ia[i]; q[i + 16] = (int8_t)ib[i]; }
#endif
        in.scale[row * in.groups + g] = scale;
        in.total[row * in.groups + g] = scale * (float)total;
        in.shift[row * in.groups + g] = -128 * total;
    }
}

/* ---- one block of 16 output rows for up to TILE tokens: out[t] = W x[t] ---- */

INLINE void block_int8(const Linear *l, int64_t block, Input in, int64_t row, const int tokens, F16 *out) {
    const uint8_t *w = (const uint8_t *)l->weight + block * in.padded * BLOCK;
    const int8_t *q = in.q + row * in.padded;
    const float *scale = in.scale + row * in.groups;
    const int32_t *shift = in.shift + row * in.groups;
    for (int t = 0; t < tokens; t++) out[t] = all(0);
    for (int64_t g = 0; g < in.groups; g++, w += GROUP * BLOCK) {
        I16 acc[TILE];
        for (int t = 0; t < tokens; t++) acc[t] = alli(shift[t * in.groups + g]);
#pragma GCC unroll 8
        for (int v = 0; v < GROUP / 4; v++) {
            B64 weights = bytes(w + 64 * v);
            __builtin_prefetch(w + 64 * v + AHEAD);
            for (int t = 0; t < tokens; t++) acc[t] = dot4(acc[t], weights, q + t * in.padded + g * GROUP + 4 * v);
        }
        for (int t = 0; t < tokens; t++) out[t] += floats(acc[t]) * scale[t * in.groups + g];
    }
    F16 by = load((const float *)l->scale + block * BLOCK);
    for (int t = 0; t < tokens; t++) out[t] *= by;
}

INLINE void block_int4(const Linear *l, int64_t block, Input in, int64_t row, const int tokens, F16 *out) {
    const uint8_t *w = (const uint8_t *)l->weight + block * in.padded * (BLOCK / 2);
    const uint16_t *scales = (const uint16_t *)l->scale + block * in.groups * 2 * BLOCK;
    const int8_t *q = in.q + row * in.padded;
    const float *scale = in.scale + row * in.groups, *total = in.total + row * in.groups;
    const B64 low = (B64)alli(0x0f0f0f0f);
    for (int t = 0; t < tokens; t++) out[t] = all(0);
    for (int64_t g = 0; g < in.groups; g++, w += GROUP * BLOCK / 2, scales += 2 * BLOCK) {
        I16 acc[TILE];
        for (int t = 0; t < tokens; t++) acc[t] = alli(0);
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++) {
            __builtin_prefetch(w + 64 * v + AHEAD);
            B64 two = bytes(w + 64 * v), first = two & low, second = (B64)(((I16)two >> 4) & (I16)low);
            for (int t = 0; t < tokens; t++) {
                const int8_t *part = q + t * in.padded + g * GROUP + 4 * v;
                acc[t] = dot4(dot4(acc[t], first, part), second, part + 16);
            }
        }
        F16 step = halves(scales), least = halves(scales + BLOCK);
        for (int t = 0; t < tokens; t++)
            out[t] += floats(acc[t]) * (step * scale[t * in.groups + g]) + least * total[t * in.groups + g];
    }
}

INLINE void block_float(const Linear *l, int64_t block, Input in, int64_t row, const int tokens, F16 *out) {
    int64_t n = l->in, first = block * BLOCK, count = l->out - first < BLOCK ? l->out - first : BLOCK;
    float result[TILE][BLOCK] = {{0}};
    for (int64_t r = 0; r < count; r += 2) { /* two rows of weights at a time */
        const float *w0 = (const float *)l->weight + (first + r) * n, *w1 = r + 1 < count ? w0 + n : w0;
        F16 acc0[TILE], acc1[TILE];
        for (int t = 0; t < tokens; t++) acc0[t] = acc1[t] = all(0);
        int64_t i = 0;
        for (; i + 16 <= n; i += 16) {
            F16 a = load(w0 + i), b = load(w1 + i);
            for (int t = 0; t < tokens; t++) {
                F16 x = load(in.x + (row + t) * in.width + i);
                acc0[t] += a * x; acc1[t] += b * x;
            }
        }
        for (int t = 0; t < tokens; t++) {
            float s0 = sum(acc0[t]), s1 = sum(acc1[t]);
            for (int64_t j = i; j < n; j++) {
                float x = in.x[(row + t) * in.width + j];
                s0 += w0[j] * x; s1 += w1[j] * x;
            }
            result[t][r] = s0;
            if (r + 1 < count) result[t][r + 1] = s1;
        }
    }
    for (int t = 0; t < tokens; t++) out[t] = load(result[t]);
}

INLINE void block_any(const Linear *l, int64_t block, Input in, int64_t row, const int tokens, F16 *out) {
    if (l->kind == 1) block_int8(l, block, in, row, tokens, out);
    else if (l->kind == 2) block_int4(l, block, in, row, tokens, out);
    else block_float(l, block, in, row, tokens, out);
}

typedef struct { /* where results go */
    float *out;
    int64_t stride;
    int add;            /* to what is there */
    const float *small; /* of each adapter [row][rank], or NULL */
    const Call *call;   /* that switches them */
} Output;

INLINE int working(const Adapter *a, const Call *c, int64_t row) { return c->on[(int64_t)a->which * c->rows + row]; }

static void block_rows(const Linear *l, int64_t block, Input in, int64_t rows, Output to) {
    int64_t first = block * BLOCK, count = l->out - first < BLOCK ? l->out - first : BLOCK;
    for (int64_t row = 0, left; (left = rows - row) > 0;) {
        F16 out[TILE];
        int tokens = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
        if (tokens == 8) block_any(l, block, in, row, 8, out);
        else if (tokens == 4) block_any(l, block, in, row, 4, out);
        else if (tokens == 2) block_any(l, block, in, row, 2, out);
        else block_any(l, block, in, row, 1, out);
        for (int t = 0; t < tokens; t++) {
            float part[BLOCK], *y = to.out + (row + t) * to.stride + first;
            if (count == BLOCK && !l->bias && !to.small) { store(y, to.add ? load(y) + out[t] : out[t]); continue; }
            store(part, out[t]);
            if (l->bias) for (int64_t r = 0; r < count; r++) part[r] += l->bias[first + r];
            const float *small = to.small;
            for (int i = 0; small && i < l->adapters; small += rows * l->adapter[i++].rank) {
                const Adapter *a = l->adapter + i;
                if (!working(a, to.call, row + t)) continue;
                for (int64_t r = 0; r < count; r++) part[r] += dot(a->up + (first + r) * a->rank, small + (row + t) * a->rank, a->rank);
            }
            for (int64_t r = 0; r < count; r++) y[r] = to.add ? y[r] + part[r] : part[r];
        }
        row += tokens;
    }
}

/* ---- threads ---- */

typedef struct Job {
    void (*run)(struct Job *, int phase, int chunk);
    int (*chunks)(struct Job *, int phase); /* 0: nothing to do */
    int phases, phase;
    _Atomic int finished;
} Job;

static struct {
    pthread_mutex_t calls, sleep; /* one job at a time; of the sleepers */
    pthread_cond_t wake;
    _Atomic uint64_t ticket; /* turn:32 chunks:16 next:16 */
    _Atomic uint32_t done, sleepers;
    _Atomic int limit; /* workers that may take part */
    Job *job;
    int workers;
    pid_t owner;
    char *room;
    size_t size, used;
} pool = {.calls = PTHREAD_MUTEX_INITIALIZER, .sleep = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

#define NEXT(t) ((uint32_t)(t) & 0xffff)
#define COUNT(t) (((uint32_t)(t) >> 16) & 0xffff)
#define MOST_CHUNKS 0xffff

/* Phases of one chunk are run at once by whoever gets here; the first with more is offered to all. */
static void open_phase(Job *job) {
    int count = 0;
    while (job->phase < job->phases && (count = job->chunks(job, job->phase)) < 2) {
        if (count) job->run(job, job->phase, 0);
        job->phase++;
        count = 0;
    }
    int finished = job->phase == job->phases;
    uint64_t turn = (atomic_load(&pool.ticket) >> 32) + 1;
    atomic_store(&pool.done, 0);
    atomic_store(&pool.ticket, turn << 32 | (uint64_t)count << 16);
    if (finished) atomic_store(&job->finished, 1); /* from here on the job is its caller's */
    if (atomic_load(&pool.sleepers)) {
        pthread_mutex_lock(&pool.sleep);
        pthread_cond_broadcast(&pool.wake);
        pthread_mutex_unlock(&pool.sleep);
    }
}

static void take_part(Job *mine, int index) { /* mine NULL: a worker, for ever */
    for (;;) {
        if (mine && atomic_load(&mine->finished)) return;
        uint64_t t = atomic_load(&pool.ticket);
        if (NEXT(t) < COUNT(t) && index < atomic_load(&pool.limit)) {
            if (!atomic_compare_exchange_weak(&pool.ticket, &t, t + 1)) continue;
            Job *job = pool.job; /* stays while a chunk of it is ours */
            job->run(job, job->phase, (int)NEXT(t));
            if (atomic_fetch_add(&pool.done, 1) + 1 == COUNT(t)) { job->phase++; open_phase(job); }
            continue;
        }
        int looks = 400;
        while (looks && atomic_load(&pool.ticket) == t && !(mine && atomic_load(&mine->finished))) { RELAX(); looks--; }
        if (looks) continue;
        pthread_mutex_lock(&pool.sleep);
        atomic_fetch_add(&pool.sleepers, 1);
        while (atomic_load(&pool.ticket) == t && !(mine && atomic_load(&mine->finished))) pthread_cond_wait(&pool.wake, &pool.sleep);
        atomic_fetch_sub(&pool.sleepers, 1);
        pthread_mutex_unlock(&pool.sleep);
    }
}

static void *worker(void *index) { take_part(NULL, (int)(intptr_t)index); return NULL; }

static void begin(void) { /* after it the room and the workers are ours */
    pthread_mutex_lock(&pool.calls);
    if (pool.owner != getpid()) { /* a fork has none of its parent's threads */
        pool.owner = getpid();
        pool.workers = 0;
        atomic_store(&pool.sleepers, 0);
        pthread_mutex_init(&pool.sleep, NULL);
        pthread_cond_init(&pool.wake, NULL);
    }
    pool.used = 0;
}

static void run(Job *job, int threads) {
    job->phase = 0;
    atomic_store(&job->finished, 0);
    while (pool.workers + 1 < threads) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, worker, (void *)(intptr_t)pool.workers)) break;
        pthread_detach(thread);
        pool.workers++;
    }
    if (threads < 2 || !pool.workers) {
        for (; job->phase < job->phases; job->phase++)
            for (int i = 0, n = job->chunks(job, job->phase); i < n; i++) job->run(job, job->phase, i);
        return;
    }
    atomic_store(&pool.limit, threads - 1);
    pool.job = job;
    open_phase(job);
    take_part(job, -1);
}

static void end(void) {
    if (pool.size > (64u << 20)) { free(pool.room); pool.room = NULL; pool.size = 0; }
    pthread_mutex_unlock(&pool.calls);
}

/* Memory for one call: measured first with room NULL, then handed out. */
static void *take(int64_t count, size_t size) {
    size_t start = pool.used;
    pool.used += ((size_t)count * size + 127) & ~(size_t)63;
    return pool.room ? pool.room + start : NULL;
}

static int enough(void) {
    if (pool.used <= pool.size) return 1;
    free(pool.room);
    pool.size = pool.used + pool.used / 4;
    pool.room = aligned_alloc(64, (pool.size + 63) & ~(size_t)63);
    if (!pool.room) pool.size = 0;
    return pool.room != NULL;
}

static Input input(int64_t rows, int64_t width) {
    Input in = {.width = width, .padded = (width + GROUP - 1) / GROUP * GROUP, .groups = (width + GROUP - 1) / GROUP};
    in.x = take(rows * width, 4);
    in.q = take(rows * in.padded, 1);
    in.scale = take(rows * in.groups, 4);
    in.total = take(rows * in.groups, 4);
    in.shift = take(rows * in.groups, 4);
    return in;
}

static int64_t blocks_of(const Linear *l) { return (l->out + BLOCK - 1) / BLOCK; }

static int parts(int64_t units, int threads) { /* chunks that many units of work are cut into */
    int64_t count = threads < 2 ? 1 : threads * 6;
    return (int)(units < count ? units : count);
}

/* ---- one layer for many tokens ---- */

typedef struct {
    Job job;
    const Linear *linear;
    Input in;
    int64_t rows;
    Output to;
    int threads;
} Product;

enum { PANEL = 256 }; /* tokens whose activations stay near while the blocks pass */

static int product_chunks(Job *job, int phase) {
    Product *p = (Product *)job;
    if (phase == 0) return p->linear->kind ? parts(p->rows, p->threads) : 0;
    return parts(blocks_of(p->linear), p->threads);
}

static void product_run(Job *job, int phase, int chunk) {
    Product *p = (Product *)job;
    int64_t count = product_chunks(job, phase), units = phase ? blocks_of(p->linear) : p->rows;
    int64_t from = units * chunk / count, to = units * (chunk + 1) / count;
    if (phase == 0) {
        for (int64_t row = from; row < to; row++) quantize(p->in, row);
        return;
    }
    for (int64_t row = 0; row < p->rows; row += PANEL) {
        int64_t rows = p->rows - row < PANEL ? p->rows - row : PANEL;
        Input in = p->in;
        in.x += row * in.width; in.q += row * in.padded;
        in.scale += row * in.groups; in.total += row * in.groups; in.shift += row * in.groups;
        Output out = p->to;
        out.out += row * out.stride;
        for (int64_t b = from; b < to; b++) block_rows(p->linear, b, in, rows, out);
    }
}

/* out [rows][out] = linear(x [rows][in]), adapters left aside; 0, or -1 without memory. */
int sensorium_linear(const Linear *linear, const float *x, float *out, int64_t rows, int threads) {
    begin();
    int good = 0;
    Product p = {.job = {.run = product_run, .chunks = product_chunks, .phases = 2}, .linear = linear, .rows = rows,
                 .to = {.out = out, .stride = linear->out}, .threads = threads};
    for (int turn = 0; turn < 2; turn++) { pool.used = 0; p.in = input(linear->kind ? rows : 0, linear->in); if (!(good = enough())) break; }
    p.in.x = (float *)x;
    if (good) run(&p.job, threads);
    end();
    return good ? 0 : -1;
}

/* ---- one step of the decoder ---- */

enum { READ, QKV, TURN, ATTEND, GATHER, OUT, THINK, GATE_UP, NARROW, DOWN, PHASES };

typedef struct {
    Job job;
    const Model *m;
    const Call *c;
    int threads, splits;
    Input wide, heads, inner; /* what the layers read: of width dim, heads * head_dim and inner */
    float *stream, *added;    /* [row][dim]; what a layer gives before its norm */
    float *qkv, *gate, *partial, *scores;
    float *small[7]; /* of q k v o gate up down: of each adapter [row][rank] */
} Step;

INLINE const Linear *linear_of(const Layer *l, int i) { return &l->q + i; }

/* The inner products of the adapters that work for one row. */
static void shrink(Step *s, const Layer *layer, int from, int to, Input in, int64_t row) {
    for (int i = from; i < to; i++) {
        const Linear *l = linear_of(layer, i);
        float *small = s->small[i];
        for (int k = 0; k < l->adapters; small += s->c->rows * l->adapter[k++].rank) {
            const Adapter *a = l->adapter + k;
            if (!working(a, s->c, row)) continue;
            for (int r = 0; r < a->rank; r++)
                small[row * a->rank + r] = a->strength * dot(a->down + (int64_t)r * l->in, in.x + row * in.width, l->in);
        }
    }
}

static void product(Step *s, const Layer *layer, int i, Input in, int64_t from, int64_t to, Output out) {
    const Linear *l = linear_of(layer, i);
    out.small = l->adapters ? s->small[i] : NULL;
    out.call = s->c;
    for (int64_t b = from; b < to; b++) block_rows(l, b, in, s->c->rows, out);
}

static void norm(const float *x, const float *weight, float offset, float eps, int64_t n, float *y) {
    float by = 1.0f / sqrtf(dot(x, x, (int)n) / (float)n + eps);
    for (int64_t i = 0; i < n; i++) y[i] = x[i] * by * (weight[i] + offset);
}

/* What the last layer gave joins the stream; the next one's input is normed from it. */
static void feed(Step *s, const float *behind, const float *before, int64_t row, float *x) {
    const Model *m = s->m;
    float *stream = s->stream + row * m->dim, *added = s->added + row * m->dim;
    if (behind) {
        norm(added, behind, m->offset, m->eps, m->dim, added);
        for (int64_t i = 0; i < m->dim; i++) stream[i] += added[i];
    }
    norm(stream, before, m->offset, m->eps, m->dim, x);
}

static void rotate(float *x, const float *cosine, const float *sine, int n, float *y) {
    int half = n / 2;
    for (int i = 0; i < half; i++) {
        float a = x[i], b = x[i + half];
        y[i] = a * cosine[i] + b * sine[i];
        y[i + half] = b * cosine[i + half] + a * sine[i + half];
    }
}

static int64_t cached(const Step *s, int64_t layer, int kv, int64_t row, int64_t head) {
    const Model *m = s->m;
    return ((((layer * 2 + kv) * s->c->rows + row) * m->kv_heads + head) * s->c->capacity) * m->head_dim;
}

/* Heads are normed and turned; the new key and value join the cache. */
static void turn_row(Step *s, int64_t index, int64_t row) {
    const Model *m = s->m;
    const Layer *l = m->layer + index;
    int n = m->head_dim;
    int64_t position = s->c->positions[row], slot = (int64_t)s->c->lengths[row] * n;
    const float *cosine = s->c->cosines[l->table] + position * n, *sine = s->c->sines[l->table] + position * n;
    float *q = s->qkv + row * (m->heads + 2 * m->kv_heads) * n, *k = q + m->heads * n, *v = k + m->kv_heads * n;
    for (int h = 0; h < m->heads; h++) {
        if (l->q_norm) norm(q + h * n, l->q_norm, m->offset, m->eps, n, q + h * n);
        rotate(q + h * n, cosine, sine, n, q + h * n);
    }
    for (int h = 0; h < m->kv_heads; h++) {
        if (l->k_norm) norm(k + h * n, l->k_norm, m->offset, m->eps, n, k + h * n);
        rotate(k + h * n, cosine, sine, n, s->c->cache + cached(s, index, 0, row, h) + slot);
        memcpy(s->c->cache + cached(s, index, 1, row, h) + slot, v + h * n, (size_t)n * 4);
    }
}

/* The sums of sixteen vectors, as one vector: halves of pairs are added until one is left. */
INLINE F16 sums(const F16 *v) {
#if defined(__clang__)
#define MIX(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define MIX(a, b, ...) __builtin_shuffle(a, b, (I16){__VA_ARGS__})
#endif
#define EVEN1 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30
#define ODD1 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31
#define EVEN2 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29
#define ODD2 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31
#define EVEN4 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27
#define ODD4 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31
#define EVEN8 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23
#define ODD8 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31
    F16 a[8], b[4], c[2];
    for (int i = 0; i < 8; i++) a[i] = MIX(v[2 * i], v[2 * i + 1], EVEN1) + MIX(v[2 * i], v[2 * i + 1], ODD1);
    for (int i = 0; i < 4; i++) b[i] = MIX(a[2 * i], a[2 * i + 1], EVEN2) + MIX(a[2 * i], a[2 * i + 1], ODD2);
    for (int i = 0; i < 2; i++) c[i] = MIX(b[2 * i], b[2 * i + 1], EVEN4) + MIX(b[2 * i], b[2 * i + 1], ODD4);
    return MIX(c[0], c[1], EVEN8) + MIX(c[0], c[1], ODD8);
}

/* Scores of `group` query heads against `count` keys; heads of `vectors` whole vectors, or of any width where it is 0. */
INLINE void score(const float *q, const float *k, int64_t count, int group, int n, const int vectors, float by, float *out, int64_t stride) {
    for (int64_t s = 0; s < count; s += 16) {
        int64_t here = count - s < 16 ? count - s : 16;
        for (int g = 0; g < group; g++) {
            const float *head = q + (int64_t)g * n, *key = k + s * n;
            if (!g) for (int i = 0; i < 16 * n; i += 16) __builtin_prefetch(key + 16 * n + i);
            if (!vectors || here < 16) {
                for (int64_t i = 0; i < here; i++) out[g * stride + s + i] = by * dot(head, key + i * n, n);
                continue;
            }
            F16 part[16];
            for (int i = 0; i < 16; i++) part[i] = load(head) * load(key + i * n);
            for (int v = 1; v < vectors; v++) {
                F16 x = load(head + 16 * v);
                for (int i = 0; i < 16; i++) part[i] += x * load(key + i * n + 16 * v);
            }
            store(out + g * stride + s, by * sums(part));
        }
    }
}

/* Sums of `count` values weighted for each of `group` heads, four vectors and four heads at a time. */
INLINE void mix_some(const float *weights, int64_t stride, const float *v, int64_t count, int n, const int group, float *out, int64_t apart) {
    F16 acc[4][4];
    for (int g = 0; g < group; g++) for (int i = 0; i < 4; i++) acc[g][i] = all(0);
    for (int64_t s = 0; s < count; s++) {
        F16 value[4];
        for (int i = 0; i < 4; i++) { value[i] = load(v + s * n + 16 * i); __builtin_prefetch(v + (s + 16) * n + 16 * i); }
        for (int g = 0; g < group; g++) for (int i = 0; i < 4; i++) acc[g][i] += weights[g * stride + s] * value[i];
    }
    for (int g = 0; g < group; g++) for (int i = 0; i < 4; i++) store(out + g * apart + 16 * i, acc[g][i]);
}

static void mix(const float *weights, int64_t stride, const float *v, int64_t count, int n, int group, float *out, int64_t apart) {
    int whole = n / 64 * 64;
    for (int g = 0; g < group; g += 4)
        for (int i = 0; i < whole; i += 64) {
            const float *w = weights + g * stride;
            float *to = out + g * apart + i;
            switch (group - g) {
            case 1: mix_some(w, stride, v + i, count, n, 1, to, apart); break;
            case 2: mix_some(w, stride, v + i, count, n, 2, to, apart); break;
            case 3: mix_some(w, stride, v + i, count, n, 3, to, apart); break;
            default: mix_some(w, stride, v + i, count, n, 4, to, apart);
            }
        }
    for (int g = 0; g < group; g++) {
        for (int i = whole; i < n; i++) out[g * apart + i] = 0;
        if (whole < n)
            for (int64_t s = 0; s < count; s++)
                for (int i = whole; i < n; i++) out[g * apart + i] += weights[g * stride + s] * v[s * n + i];
    }
}

/* One stretch of one row's keys for the query heads that share a key-value head: sums, with their maximum and total. */
static void attend(Step *s, int64_t index, int64_t item) {
    const Model *m = s->m;
    int n = m->head_dim, group = m->heads / m->kv_heads, window = m->layer[index].window;
    int64_t split = item % s->splits, head = item / s->splits % m->kv_heads, row = item / s->splits / m->kv_heads;
    int64_t keys = s->c->lengths[row] + 1, first = window && keys > window ? keys - window : 0;
    int64_t length = ((keys - first + s->splits - 1) / s->splits + 15) & ~(int64_t)15, from = first + split * length;
    int64_t to = from + length < keys ? from + length : keys, count = to - from, stride = (s->c->capacity / s->splits + 32) & ~15;
    float *partial = s->partial + item * group * (n + 2), *scores = s->scores + item * group * stride;
    if (count <= 0) {
        for (int g = 0; g < group; g++) { partial[g * (n + 2)] = -INFINITY; partial[g * (n + 2) + 1] = 0; }
        return;
    }
    const float *q = s->qkv + (row * (m->heads + 2 * m->kv_heads) + head * group) * n;
    const float *k = s->c->cache + cached(s, index, 0, row, head) + from * n, *v = s->c->cache + cached(s, index, 1, row, head) + from * n;
    if (n == 64) score(q, k, count, group, n, 4, m->scale, scores, stride);
    else if (n == 128) score(q, k, count, group, n, 8, m->scale, scores, stride);
    else if (n == 256) score(q, k, count, group, n, 16, m->scale, scores, stride);
    else score(q, k, count, group, n, 0, m->scale, scores, stride);
    for (int g = 0; g < group; g++) {
        float *line = scores + g * stride, most = -INFINITY, *out = partial + g * (n + 2);
        for (int64_t i = count; i & 15; i++) line[i] = -INFINITY;
        if (m->softcap > 0)
            for (int64_t i = 0; i < count; i++) line[i] = tanhf(line[i] / m->softcap) * m->softcap;
        F16 top = all(-INFINITY), total = all(0);
        for (int64_t i = 0; i < count; i += 16) { F16 x = load(line + i); top = pick(x > top, x, top); }
        for (int i = 0; i < 16; i++) most = top[i] > most ? top[i] : most;
        for (int64_t i = 0; i < count; i += 16) {
            F16 x = exps(load(line + i) - most);
            if (i + 16 > count) for (int j = 0; j < 16; j++) if (i + j >= count) x[j] = 0;
            total += x;
            store(line + i, x);
        }
        out[0] = most; out[1] = sum(total);
    }
    mix(scores, stride, v, count, n, group, partial + 2, n + 2);
}

static void gather(Step *s, int64_t row) { /* the stretches of each head as one */
    const Model *m = s->m;
    int n = m->head_dim, group = m->heads / m->kv_heads;
    for (int h = 0; h < m->heads; h++) {
        float *out = s->heads.x + row * s->heads.width + h * n, most = -INFINITY, total = 0;
        const float *part = s->partial + ((row * m->kv_heads + h / group) * s->splits * group + h % group) * (n + 2);
        int64_t stride = (int64_t)group * (n + 2);
        for (int i = 0; i < s->splits; i++) most = part[i * stride] > most ? part[i * stride] : most;
        memset(out, 0, (size_t)n * 4);
        for (int i = 0; i < s->splits; i++) {
            const float *p = part + i * stride;
            if (p[1] == 0) continue;
            float by = expf(p[0] - most);
            total += by * p[1];
            for (int j = 0; j < n; j++) out[j] += by * p[2 + j];
        }
        for (int j = 0; j < n; j++) out[j] /= total;
    }
}

static void activate(const float *gate, float *up, int64_t n, int kind) { /* up *= f(gate) */
    for (int64_t i = 0; i < n; i += 16) {
        float a[16] = {0};
        int64_t left = n - i < 16 ? n - i : 16;
        memcpy(a, gate + i, (size_t)left * 4);
        F16 x = load(a);
        if (kind == 0) x = x / (1.0f + exps(-x));
        else if (kind == 2) x = 0.5f * x * (1.0f + tanhs(0.7978845608f * (x + 0.044715f * x * x * x)));
        else if (kind == 1) for (int j = 0; j < 16; j++) x[j] = 0.5f * x[j] * (1.0f + erff(x[j] * 0.70710678f));
        else x = pick(x > all(0), x, all(0));
        store(a, x);
        for (int64_t j = 0; j < left; j++) up[i + j] *= a[j];
    }
}

static int quantized(const Layer *l, int from, int to) {
    for (int i = from; i < to; i++) if (linear_of(l, i)->kind) return 1;
    return 0;
}

static int64_t units_of(Step *s, int phase) { /* what a phase can be cut into */
    const Layer *l = s->m->layer + phase / PHASES;
    if (phase == s->m->layers * PHASES) return s->c->rows;
    switch (phase % PHASES) {
    case QKV: return blocks_of(&l->q) + blocks_of(&l->k) + blocks_of(&l->v);
    case ATTEND: return (int64_t)s->c->rows * s->m->kv_heads * s->splits;
    case OUT: return blocks_of(&l->o);
    case GATE_UP: return blocks_of(&l->gate);
    case DOWN: return blocks_of(&l->down);
    default: return s->c->rows;
    }
}

static int step_chunks(Job *job, int phase) {
    Step *s = (Step *)job;
    return parts(units_of(s, phase), s->threads);
}

static void step_run(Job *job, int phase, int chunk) {
    Step *s = (Step *)job;
    const Model *m = s->m;
    int64_t index = phase / PHASES, units = units_of(s, phase), count = step_chunks(job, phase);
    int64_t from = units * chunk / count, to = units * (chunk + 1) / count;
    if (index == m->layers) {
        const float *behind = m->layer[index - 1].after_mlp;
        for (int64_t row = from; row < to; row++) feed(s, behind, m->norm, row, s->c->hidden + row * m->dim);
        return;
    }
    const Layer *l = m->layer + index;
    int64_t dim = m->dim, inner = m->inner, n = m->head_dim, across = (m->heads + 2 * m->kv_heads) * n;
    switch (phase % PHASES) {
    case READ:
        for (int64_t row = from; row < to; row++) {
            feed(s, index ? l[-1].after_mlp : NULL, l->before_attention, row, s->wide.x + row * dim);
            if (quantized(l, 0, 3)) quantize(s->wide, row);
            shrink(s, l, 0, 3, s->wide, row);
        }
        break;
    case QKV: {
        int64_t start = 0, column = 0;
        for (int i = 0; i < 3; i++) {
            int64_t size = blocks_of(linear_of(l, i)), a = from > start ? from - start : 0, b = to - start < size ? to - start : size;
            Output out = {.out = s->qkv + column, .stride = across};
            if (a < b) product(s, l, i, s->wide, a, b, out);
            start += size;
            column += linear_of(l, i)->out;
        }
        break;
    }
    case TURN: for (int64_t row = from; row < to; row++) turn_row(s, index, row); break;
    case ATTEND: for (int64_t item = from; item < to; item++) attend(s, index, item); break;
    case GATHER:
        for (int64_t row = from; row < to; row++) {
            gather(s, row);
            if (quantized(l, 3, 4)) quantize(s->heads, row);
            shrink(s, l, 3, 4, s->heads, row);
        }
        break;
    case OUT: {
        Output out = {.out = l->after_attention ? s->added : s->stream, .stride = dim, .add = !l->after_attention};
        product(s, l, 3, s->heads, from, to, out);
        break;
    }
    case THINK:
        for (int64_t row = from; row < to; row++) {
            feed(s, l->after_attention, l->before_mlp, row, s->wide.x + row * dim);
            if (quantized(l, 4, 6)) quantize(s->wide, row);
            shrink(s, l, 4, 6, s->wide, row);
        }
        break;
    case GATE_UP: {
        Output gate = {.out = s->gate, .stride = inner}, up = {.out = s->inner.x, .stride = inner};
        product(s, l, 4, s->wide, from, to, gate);
        product(s, l, 5, s->wide, from, to, up);
        int64_t a = from * BLOCK, b = to * BLOCK < inner ? to * BLOCK : inner;
        for (int64_t row = 0; row < s->c->rows; row++) activate(s->gate + row * inner + a, s->inner.x + row * inner + a, b - a, m->activation);
        break;
    }
    case NARROW:
        for (int64_t row = from; row < to; row++) {
            if (quantized(l, 6, 7)) quantize(s->inner, row);
            shrink(s, l, 6, 7, s->inner, row);
        }
        break;
    case DOWN: {
        Output out = {.out = l->after_mlp ? s->added : s->stream, .stride = dim, .add = !l->after_mlp};
        product(s, l, 6, s->inner, from, to, out);
        break;
    }
    }
}

/* Reads Call.embeds [row][dim], grows the cache by one position a row, writes Call.hidden; 0, or -1 without memory. */
int sensorium_step(const Model *m, const Call *c, int threads) {
    begin();
    int64_t rows = c->rows, longest = 0, items = rows * m->kv_heads, group = m->heads / m->kv_heads;
    for (int64_t row = 0; row < rows; row++) longest = c->lengths[row] > longest ? c->lengths[row] : longest;
    int64_t splits = threads < 2 ? 1 : (6 * threads + items - 1) / items, useful = longest / 64 + 1;
    Step s = {.job = {.run = step_run, .chunks = step_chunks, .phases = m->layers * PHASES + 1}, .m = m, .c = c, .threads = threads,
              .splits = (int)(splits < useful ? splits : useful)};
    int good = 0;
    for (int turn = 0; turn < 2; turn++) {
        pool.used = 0;
        s.wide = input(rows, m->dim);
        s.heads = input(rows, (int64_t)m->heads * m->head_dim);
        s.inner = input(rows, m->inner);
        s.stream = take(rows * m->dim, 4);
        s.added = take(rows * m->dim, 4);
        s.qkv = take(rows * (m->heads + 2 * m->kv_heads) * m->head_dim, 4);
        s.gate = take(rows * m->inner, 4);
        s.partial = take(items * s.splits * group * (m->head_dim + 2), 4);
        s.scores = take(items * s.splits * group * ((c->capacity / s.splits + 32) & ~15), 4);
        for (int i = 0; i < 7; i++) {
            int64_t rank = 0;
            for (int64_t l = 0; l < m->layers; l++) {
                const Linear *one = linear_of(m->layer + l, i);
                int64_t all = 0;
                for (int k = 0; k < one->adapters; k++) all += one->adapter[k].rank;
                rank = all > rank ? all : rank;
            }
            s.small[i] = take(rows * rank, 4);
        }
        if (!(good = enough())) break;
    }
    if (good) {
        memcpy(s.stream, c->embeds, (size_t)(rows * m->dim) * 4);
        run(&s.job, threads);
    }
    end();
    return good ? 0 : -1;
}

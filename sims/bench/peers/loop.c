/* uv under stiff confinement by Leimkuhler and Matthews, chains in blocks that stay in the first cache.

   V(u, v) = (uv - 1)^2/2 + kappa ((u^2 - v^2)/2)^2/2,   x' = x - h dV/dx + sqrt(hT/2) (xi_n + xi_{n+1}).

   Every array has an entry for each chain, so that the loops over a block are the compiler's to vectorise; a step is
   as many plain operations as its formula has. Words come from xoshiro128++ (Blackman & Vigna, 2021), a state for each
   chain. The caller starts a thread for each core and gives each its own chains. */

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#define BLOCK 256
#define STEPS_OF_A_WORD 5 /* ten increments of three bits, two for each step */

typedef struct {
    float step_size, amplitude, kappa;
    float low, width; /* of the first bin, of every bin */
    int bins;         /* none: nothing is counted */
} Settings;

/* u, v, the last step's increments, the generator's four words */
typedef struct {
    float *restrict u, *restrict v, *restrict last_u, *restrict last_v;
    uint32_t *restrict s0, *restrict s1, *restrict s2, *restrict s3;
} Chains;

static inline uint32_t rotated(uint32_t word, int bits) { return (word << bits) | (word >> (32 - bits)); }

static inline uint32_t next_word(uint32_t *s0, uint32_t *s1, uint32_t *s2, uint32_t *s3) {
    const uint32_t word = rotated(*s0 + *s3, 7) + *s0, shifted = *s1 << 9;
    *s2 ^= *s0;
    *s3 ^= *s1;
    *s1 ^= *s2;
    *s0 ^= *s3;
    *s2 ^= shifted;
    *s3 = rotated(*s3, 11);
    return word;
}

static inline void step(float *u, float *v, float kick_u, float kick_v, float h, float kappa) {
    const float residual = *u * *v - 1.0f, charge = 0.5f * kappa * (*u * *u - *v * *v);
    const float du = residual * *v + charge * *u, dv = residual * *u - charge * *v;
    *u = *u - h * du + kick_u;
    *v = *v - h * dv + kick_v;
}

/* a^2 = 1 - sqrt(2/3), b^2 = 1 + sqrt(6): the first five moments of a normal, from the last three bits */
static inline float four_point(uint32_t bits) {
    const float size = (bits & 3u) == 0u ? 1.8572570f : 0.42839927f;
    return (bits & 4u) == 0u ? size : -size;
}

/* One word of each chain: five steps, or the first few of them. */
static inline void four_point_call(Chains c, size_t n, int steps, const Settings *set) {
    const float h = set->step_size, amplitude = set->amplitude, kappa = set->kappa;
    for (size_t i = 0; i < n; i++) {
        uint32_t s0 = c.s0[i], s1 = c.s1[i], s2 = c.s2[i], s3 = c.s3[i];
        float u = c.u[i], v = c.v[i], last_u = c.last_u[i], last_v = c.last_v[i];
        uint32_t word = next_word(&s0, &s1, &s2, &s3);
        for (int k = 0; k < steps; k++) {
            const float new_u = four_point(word), new_v = four_point(word >> 3);
            word >>= 6;
            step(&u, &v, amplitude * (last_u + new_u), amplitude * (last_v + new_v), h, kappa);
            last_u = new_u;
            last_v = new_v;
        }
        c.s0[i] = s0, c.s1[i] = s1, c.s2[i] = s2, c.s3[i] = s3;
        c.u[i] = u, c.v[i] = v, c.last_u[i] = last_u, c.last_v[i] = last_v;
    }
}

#ifdef LIBM
/* The C library's functions, as most would write it. */
static inline void normals(uint32_t first, uint32_t second, float *x, float *y) {
    const float radius = sqrtf(-2.0f * logf(((float)(first >> 8) + 0.5f) * 0x1p-24f));
    const float angle = 6.2831853f * 0x1p-32f * (float)second;
    *x = radius * cosf(angle);
    *y = radius * sinf(angle);
}
#else
/* log of a positive normal number: log(2^e m), sqrt(1/2) <= m < sqrt(2), by the series of 2 artanh. */
static inline float log_of(float x) {
    union { float number; uint32_t bits; } here = {x};
    const int32_t exponent = (int32_t)(here.bits - 0x3f3504f3u) >> 23;
    here.bits -= (uint32_t)exponent << 23;
    const float s = (here.number - 1.0f) / (here.number + 1.0f), q = s * s;
    const float series = 2.0f + q * (0.66666667f + q * (0.4f + q * (0.28571429f + q * 0.22222222f)));
    return (float)exponent * 0.69314718f + s * series;
}

/* Box and Muller, with the angle in an eighth of a turn by the word's first bits and series for both functions. */
static inline void normals(uint32_t first, uint32_t second, float *x, float *y) {
    const float radius = sqrtf(-2.0f * log_of(((float)(int32_t)(first >> 8) + 0.5f) * 0x1p-24f));
    const float angle = (float)(int32_t)(second & 0x1fffffffu) * (0.78539816f * 0x1p-29f), q = angle * angle;
    const float sine = angle * (1.0f + q * (-0.16666667f + q * (8.3333333e-3f + q * -1.9841270e-4f)));
    const float cosine = 1.0f + q * (-0.5f + q * (4.1666667e-2f + q * (-1.3888889e-3f + q * 2.4801587e-5f)));
    const float a = radius * (second & 0x20000000u ? sine : cosine);
    const float b = radius * (second & 0x20000000u ? cosine : sine);
    *x = second & 0x40000000u ? -a : a;
    *y = second & 0x80000000u ? -b : b;
}
#endif

static inline void normal_call(Chains c, size_t n, const Settings *set) {
    const float h = set->step_size, amplitude = set->amplitude, kappa = set->kappa;
    for (size_t i = 0; i < n; i++) {
        uint32_t s0 = c.s0[i], s1 = c.s1[i], s2 = c.s2[i], s3 = c.s3[i];
        float u = c.u[i], v = c.v[i], new_u, new_v;
        const uint32_t first = next_word(&s0, &s1, &s2, &s3), second = next_word(&s0, &s1, &s2, &s3);
        normals(first, second, &new_u, &new_v);
        step(&u, &v, amplitude * (c.last_u[i] + new_u), amplitude * (c.last_v[i] + new_v), h, kappa);
        c.s0[i] = s0, c.s1[i] = s1, c.s2[i] = s2, c.s3[i] = s3;
        c.u[i] = u, c.v[i] = v, c.last_u[i] = new_u, c.last_v[i] = new_v;
    }
}

static void record(Chains c, size_t n, const Settings *set, int64_t *counts) {
    for (size_t i = 0; i < n; i++) {
        const float place = (c.u[i] * c.v[i] - set->low) / set->width;
        if (place >= 0.0f && place < (float)set->bins) counts[(int)place]++;
    }
}

static Chains from(Chains c, size_t first) {
    return (Chains){c.u + first,  c.v + first,  c.last_u + first, c.last_v + first,
                    c.s0 + first, c.s1 + first, c.s2 + first,     c.s3 + first};
}

/* `records` times `thin` steps of every chain, z = uv counted after each. */
void run_four_point(Chains c, size_t chains, int64_t records, int64_t thin, const Settings *set, int64_t *counts) {
    for (size_t first = 0; first < chains; first += BLOCK) {
        const size_t n = chains - first < BLOCK ? chains - first : BLOCK;
        const Chains here = from(c, first);
        for (int64_t r = 0; r < records; r++) {
            for (int64_t k = 0; k < thin / STEPS_OF_A_WORD; k++) four_point_call(here, n, STEPS_OF_A_WORD, set);
            if (thin % STEPS_OF_A_WORD) four_point_call(here, n, (int)(thin % STEPS_OF_A_WORD), set);
            if (set->bins) record(here, n, set, counts);
        }
    }
}

void run_normal(Chains c, size_t chains, int64_t records, int64_t thin, const Settings *set, int64_t *counts) {
    for (size_t first = 0; first < chains; first += BLOCK) {
        const size_t n = chains - first < BLOCK ? chains - first : BLOCK;
        const Chains here = from(c, first);
        for (int64_t r = 0; r < records; r++) {
            for (int64_t k = 0; k < thin; k++) normal_call(here, n, set);
            if (set->bins) record(here, n, set, counts);
        }
    }
}

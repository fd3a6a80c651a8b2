// ops::gru: gates [rows, words, 3 hidden] hold the part of the input; `recurrent` is U h, before c is added.

// The states after word t, in place in `state` [rows, hidden] and among those of all words [rows, words, hidden]. Before
// the first word there are no state and no `recurrent`.
extern "C" __global__ void gru_step(
    u64 n, u32 hidden, u32 words, u32 t, u32 first, const float *gates, const float *recurrent, const float *c, float *state,
    float *states) {
    EACH(i, n) {
        const u64 row = i / hidden, place = i % hidden;
        const float *g = gates + (row * words + t) * 3 * hidden + place, *u = recurrent + row * 3 * hidden + place;
        float h = 0.0f, r[3] = {c[place], c[hidden + place], c[2 * hidden + place]};
        if (!first) {
            h = state[i];
            for (u32 gate = 0; gate < 3; ++gate) {
                r[gate] += u[gate * hidden];
            }
        }
        const float reset = sigmoid(g[0] + r[0]), keep = sigmoid(g[hidden] + r[1]);
        const float fresh = tanhf(g[2 * hidden] + reset * r[2]);
        state[i] = states[(row * words + t) * hidden + place] = fresh + keep * (h - fresh);
    }
}

// States [rows, words, hidden], each at the place of the word that is read after it; 0 where the first is read.
extern "C" __global__ void gru_previous(u64 n, u32 hidden, u32 words, u32 reverse, const float *states, float *previous) {
    EACH(i, n) {
        const u32 t = i / hidden % words;
        const bool first = reverse ? t + 1 == words : t == 0;
        previous[i] = first ? 0.0f : reverse ? states[i + hidden] : states[i - hidden];
    }
}

// The gradients of the gates and of U h + c [rows, words, 3 hidden] at word t, the latter once more in `now` [rows, 3 hidden],
// and in `carried` [rows, hidden] the part of the state's that does not go through U; what comes from the word after is in
// `carried` and `through`, unless this is the last. `recurrent` is U h of all words.
extern "C" __global__ void gru_step_gradient(
    u64 n, u32 hidden, u32 words, u32 t, u32 last, const float *gates, const float *recurrent, const float *c,
    const float *previous, const float *above, const float *through, float *carried, float *now, float *d_gates,
    float *d_recurrent) {
    EACH(i, n) {
        const u64 row = i / hidden, place = i % hidden, word = row * words + t, first = word * 3 * hidden + place;
        float *own = now + row * 3 * hidden + place;
        const float *g = gates + first, *u = recurrent + first;
        const float r2 = u[2 * hidden] + c[2 * hidden + place];
        const float reset = sigmoid(g[0] + u[0] + c[place]), keep = sigmoid(g[hidden] + u[hidden] + c[hidden + place]);
        const float fresh = tanhf(g[2 * hidden] + reset * r2), h = previous[word * hidden + place];
        const float dh = above[word * hidden + place] + (last ? 0.0f : carried[i] + through[i]);
        const float d_keep = dh * (h - fresh) * keep * (1.0f - keep), d_fresh = dh * (1.0f - keep) * (1.0f - fresh * fresh);
        const float d_reset = d_fresh * r2 * reset * (1.0f - reset);
        d_gates[first] = d_recurrent[first] = own[0] = d_reset;
        d_gates[first + hidden] = d_recurrent[first + hidden] = own[hidden] = d_keep;
        d_gates[first + 2 * hidden] = d_fresh;
        d_recurrent[first + 2 * hidden] = own[2 * hidden] = d_fresh * reset;
        carried[i] = dh * keep;
    }
}

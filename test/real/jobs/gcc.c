// SPDX-License-Identifier: BSD-2-Clause
// Copyright (c) 2026, the hyve authors
//
// Something to compile and run: every kind of loop that an optimiser likes.
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tree {
	struct tree *left, *right;
	uint64_t key;
	double weight;
};

static uint64_t state = 88172645463325252u;

static uint64_t rnd(void) {
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static struct tree *insert(struct tree *t, uint64_t key) {
	if (!t) {
		t = calloc(1, sizeof(*t));
		if (t)
			*t = (struct tree){ .key = key, .weight = (double)(key % 1000) / 8 };
		return t;
	}
	if (key < t->key)
		t->left = insert(t->left, key);
	else
		t->right = insert(t->right, key);
	return t;
}

static double weigh(const struct tree *t, int depth) {
	return t ? t->weight * depth + weigh(t->left, depth + 1) + weigh(t->right, depth + 1) : 0;
}

static int by_value(const void *a, const void *b) {
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static uint32_t crc(const void *p, size_t length) {
	const unsigned char *byte = p;
	uint32_t c = ~0u;

	while (length--) {
		c ^= *byte++;
		for (int i = 0; i < 8; i++)
			c = c >> 1 ^ (c & 1 ? 0xedb88320 : 0);
	}
	return ~c;
}

static double matrices(int n) {
	double *a = malloc(3 * sizeof(double) * n * n), *b = a + n * n, *c = b + n * n, trace = 0;

	if (!a)
		return -1;
	for (int i = 0; i < n * n; i++) {
		a[i] = (double)(rnd() % 100) / 4;
		b[i] = (double)(rnd() % 100) - 50;
		c[i] = 0;
	}
	for (int i = 0; i < n; i++)
		for (int k = 0; k < n; k++)
			for (int j = 0; j < n; j++)
				c[i * n + j] += a[i * n + k] * b[k * n + j];
	for (int i = 0; i < n; i++)
		trace += c[i * n + i];
	free(a);
	return trace;
}

static int dispatch(const char *program, int64_t *stack) {
	int sp = 0;

	for (; *program; program++) {
		switch (*program) {
		case '+': sp--; stack[sp - 1] += stack[sp]; break;
		case '-': sp--; stack[sp - 1] -= stack[sp]; break;
		case '*': sp--; stack[sp - 1] *= stack[sp]; break;
		case '/': sp--; stack[sp - 1] /= stack[sp] ? stack[sp] : 1; break;
		case '%': sp--; stack[sp - 1] %= stack[sp] ? stack[sp] : 1; break;
		case 'd': stack[sp] = stack[sp - 1]; sp++; break;
		case '<': sp--; stack[sp - 1] <<= stack[sp] & 63; break;
		default: stack[sp++] = *program - '0'; break;
		}
	}
	return sp;
}

int main(int argc, char **argv) {
	int rounds = argc > 1 ? atoi(argv[1]) : 1;
	static uint32_t values[20000];
	int64_t stack[64];
	struct tree *tree = NULL;
	long double x87 = 1;
	__int128 wide = 1;
	float narrow = 1;

	for (int i = 0; i < 4000 * rounds; i++)
		tree = insert(tree, rnd());
	printf("tree %.6f\n", weigh(tree, 1));
	for (int i = 0; i < 20000; i++)
		values[i] = (uint32_t)rnd();
	qsort(values, 20000, sizeof(values[0]), by_value);
	printf("sorted %" PRIu32 " %" PRIu32 " crc %08" PRIx32 "\n", values[0], values[19999], crc(values, sizeof(values)));
	printf("matrix %.6f\n", matrices(60));
	for (int i = 0; i < 1000 * rounds; i++) {
		x87 += 1 / x87 - (long double)i / 1024;
		x87 = fabsl(x87) + 1;
		wide = wide * 0x9e3779b97f4a7c15u + i;
		wide ^= wide / (i + 3);
		narrow = narrow * 1.25f - (float)(int)(narrow / 3) + 0.1f;
		narrow = narrow > 1e6f ? narrow / 1e6f : narrow;
	}
	printf("x87 %.18Lg wide %016" PRIx64 "%016" PRIx64 " float %.9g\n", x87, (uint64_t)(wide >> 64), (uint64_t)wide,
		narrow);
	for (int i = 0; i < 1000 * rounds; i++)
		if (dispatch("12+3*d*7%9<5/4-dd*+", stack) != 1)
			return 1;
	printf("stack %" PRId64 " %zu\n", stack[0], strlen(argv[0]));
	return 0;
}

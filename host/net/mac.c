/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The address of a card that was given none: bhyve's prefix, and three bytes of the MD5 sum (RFC
 * 1321) of the card's identity, as bhyve does it; so a guest that moves here keeps its address.
 */
#include "host/net/backend.h"

#include <string.h>

struct md5 {
	uint32_t word[4];
};

static uint32_t rotate(uint32_t x, unsigned n)
{
	return x << n | x >> (32 - n);
}

/* Step i, in round i / 16: RFC 1321, 3.4. */
static void md5_block(struct md5 *md5, const uint8_t block[64])
{
	static const uint32_t sine[64] = {0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee,
		0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501, 0x698098d8, 0x8b44f7af, 0xffff5bb1,
		0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821, 0xf61e2562, 0xc040b340,
		0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8, 0x21e1cde6,
		0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
		0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60,
		0xbebfbc70, 0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5,
		0x1fa27cf8, 0xc4ac5665, 0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3,
		0x8f0ccc92, 0xffeff47d, 0x85845dd1, 0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1,
		0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391};
	static const uint8_t shift[4][4] = {
		{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
	static const uint8_t step[4][2] = {{1, 0}, {5, 1}, {3, 5}, {7, 0}};
	uint32_t a = md5->word[0], b = md5->word[1], c = md5->word[2], d = md5->word[3];

	for (unsigned i = 0; i < 64; i++) {
		const unsigned round = i / 16;
		const uint32_t f[4] = {
			(b & c) | (~b & d), (d & b) | (~d & c), b ^ c ^ d, c ^ (b | ~d)};
		const uint8_t *m = block + 4 * ((step[round][0] * i + step[round][1]) % 16);
		const uint32_t word =
			m[0] | (uint32_t)m[1] << 8 | (uint32_t)m[2] << 16 | (uint32_t)m[3] << 24;
		const uint32_t sum = a + f[round] + word + sine[i];

		a = d;
		d = c;
		c = b;
		b += rotate(sum, shift[round][i % 4]);
	}
	md5->word[0] += a;
	md5->word[1] += b;
	md5->word[2] += c;
	md5->word[3] += d;
}

void net_mac_derive(const char *identity, uint8_t mac[6])
{
	struct md5 md5 = {{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}};
	const size_t size = strlen(identity);
	uint8_t block[64];

	/* The text, a 1 bit, zeros, and in the last 8 bytes how many bits the text has. */
	for (size_t at = 0; at < size + 9; at += sizeof(block)) {
		const size_t n = at >= size ? 0 : size - at < 64 ? size - at : 64;

		memset(block, 0, sizeof(block));
		memcpy(block, identity + (n ? at : 0), n);
		if (at <= size && n < 64)
			block[n] = 0x80;
		if (at + 64 >= size + 9)
			for (unsigned i = 0; i < 8; i++)
				block[56 + i] = (uint8_t)((uint64_t)size * 8 >> (8 * i));
		md5_block(&md5, block);
	}
	memcpy(mac, (const uint8_t[]){0x58, 0x9c, 0xfc}, 3);
	for (unsigned i = 0; i < 3; i++)
		mac[3 + i] = (uint8_t)(md5.word[0] >> (8 * i));
}

// SPDX-License-Identifier: BSD-2-Clause
// Copyright (c) 2026, the hyve authors
//
// Each section runs hot enough to be compiled, some of them to be compiled again on other assumptions, and
// prints what it computed.
'use strict';
const crypto = require('crypto');
const scale = Number(process.argv[2]);
const times = (k) => Math.max(50, Math.floor(k * scale));
const digest = (x) => crypto.createHash('sha256').update(typeof x === 'string' ? x : JSON.stringify(x)).digest('hex').slice(0, 32);

let seed = 123456789;
function rnd(limit) {
	seed ^= seed << 13;
	seed ^= seed >>> 17;
	seed ^= seed << 5;
	return (seed >>> 0) % limit;
}

const sections = {
	integers() {
		let a = 1, b = 0;
		for (let i = 0; i < times(2000000); i++) {
			a = Math.imul(a, 1103515245) + 12345 | 0;
			b = (b ^ a >>> i % 31) + (a & 0xffff) % (1 + i % 97) | 0;
			if (a > 0x7ffffff0)
				b = b * 3 / 7 | 0;
		}
		return [a, b];
	},
	overflow() {
		// Small integers that become doubles in the middle of a compiled loop.
		let sum = 0, list = [];
		for (let i = 0; i < times(300000); i++) {
			sum += i * 65537;
			if (i % 1000 === 0)
				list.push(sum, -sum / 3, sum % 1009);
		}
		return [sum, digest(list), 0.1 + 0.2, -0 === 0, Object.is(-0, Math.round(-0.2)), 5e-324 / 2, 2 ** 1023 * 2];
	},
	doubles() {
		const m = 48, a = new Float64Array(m * m), b = new Float64Array(m * m), c = new Float64Array(m * m);
		for (let i = 0; i < m * m; i++) {
			a[i] = rnd(1000) / 8;
			b[i] = rnd(1000) - 499.5;
		}
		for (let r = 0; r < times(10) / 10; r++)
			for (let i = 0; i < m; i++)
				for (let j = 0; j < m; j++) {
					let s = 0;
					for (let k = 0; k < m; k++)
						s += a[i * m + k] * b[k * m + j];
					c[i * m + j] = Math.fround(s / 3) + Math.sqrt(Math.abs(s)) + Math.floor(s / 7) + Math.trunc(s);
				}
		return digest(Array.from(c));
	},
	typedArrays() {
		const buffer = new ArrayBuffer(4096), view = new DataView(buffer);
		const kinds = [Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array,
			Float32Array, Float64Array].map((kind) => new kind(buffer));
		for (let i = 0; i < times(100000); i++) {
			const k = kinds[i % kinds.length];
			k[rnd(k.length)] = rnd(1 << 30) / 3 - 1e8;
			view.setUint16(rnd(4094), i, i % 2 === 0);
		}
		view.setFloat64(8, Math.PI);
		view.setBigInt64(24, -5n, true);
		return [digest(Array.from(kinds[1])), view.getInt32(10), view.getBigUint64(23), kinds[8][1]];
	},
	objects() {
		class Shape { constructor(x) { this.x = x; } area() { return 0; } }
		class Square extends Shape { area() { return this.x * this.x; } }
		class Circle extends Shape { area() { return this.x * 3; } get name() { return 'c' + this.x; } }
		class Odd extends Shape { constructor(x) { super(x); this['p' + x % 50] = x; } area() { return Object.keys(this).length; } }
		let total = 0;
		for (let i = 0; i < times(300000); i++) {
			const o = i % 3 === 0 ? new Square(i % 100) : i % 3 === 1 ? new Circle(i % 50) : new Odd(i);
			total += o.area() + (o.name ? o.name.length : 0);
			if (i % 1000 === 7)
				delete o.x;
		}
		return total;
	},
	closures() {
		const counters = Array.from({ length: 100 }, (_, i) => ((n) => () => n += i)(i));
		let sum = 0;
		for (let i = 0; i < times(300000); i++)
			sum += counters[i % 100]() % 1013;
		const fib = (i) => i < 2 ? i : fib(i - 1) + fib(i - 2);
		function* tree(depth) { if (depth) { yield* tree(depth - 1); yield depth; yield* tree(depth - 1); } }
		return [sum, fib(scale ? 25 : 15), digest([...tree(8)])];
	},
	exceptions() {
		const seen = {};
		for (let i = 0; i < times(20000); i++)
			try {
				if (i % 4 === 0) null.x;
				else if (i % 4 === 1) throw new RangeError('r' + i % 3);
				else if (i % 4 === 2) new Array(-1);
				else BigInt(1.5);
			} catch (e) {
				seen[e.name + e.message] = (seen[e.name + e.message] || 0) + 1;
			}
		let depth = 0;
		const dive = () => { depth++; dive(); };
		try { dive(); } catch (e) { seen.deep = depth > 1000; }
		return seen;
	},
	strings() {
		const words = [];
		for (let i = 0; i < times(20000); i++)
			words.push(String.fromCharCode(97 + rnd(26)).repeat(1 + rnd(4)) + rnd(1000) + (i % 50 ? '' : 'Ünï😀'));
		const s = words.join(' ');
		let codes = 0;
		for (const c of s)
			codes = codes * 31 + c.codePointAt(0) | 0;
		return [codes, digest(s.toUpperCase()), digest(s.replace(/(\d+) ([a-z]+)/gu, '$2$1')), (s.match(/([a-z])\1\d*7\b/g) || []).length,
			digest(s.split(/[aeiou]+(?=\d)/)), (s.match(/(?<=b)\d{2,}?(?<odd>[13579])/g) || []).length, digest(encodeURIComponent(s)),
			(1234.5678).toFixed(2), (1e21).toString(), (0.1).toString(3), (255).toString(16), parseFloat('1e-7x'), s.length];
	},
	sorting() {
		const a = Array.from({ length: times(50000) }, () => rnd(1e9));
		const f = Float64Array.from(a, (x) => x / 7).sort();
		return [digest(a.slice().sort((x, y) => x - y)), digest(a.slice().sort()), digest(Array.from(f)),
			digest(a.map((x, i) => ({ x: x % 100, i })).sort((p, q) => p.x - q.x))];
	},
	collections() {
		const m = new Map(), s = new Set();
		for (let i = 0; i < times(100000); i++) {
			const k = rnd(5000);
			m.set(i % 3 ? k : 'k' + k, (m.get(k) || 0) + i);
			s.add(k % 777);
			if (i % 7 === 0)
				m.delete(rnd(5000));
		}
		return [digest([...m]), digest([...s]), m.size];
	},
	bigints() {
		let a = 1n, b = 3n;
		for (let i = 1n; i < BigInt(times(400)); i++) {
			a = a * (b + i) % (2n ** 521n - 1n);
			b = (b << 7n ^ a) & (1n << 300n) - 1n;
		}
		return [a, b, BigInt.asIntN(64, a), (3n ** 1000n).toString(36).slice(0, 40), a / (b + 1n), -a % 1000007n];
	},
	json() {
		const o = {};
		for (let i = 0; i < times(5000); i++)
			o['k' + rnd(9999)] = [i, i / 7, null, 'é"\n' + i, { deep: [true, [i]] }];
		const t = JSON.stringify(o, null, 1);
		return [digest(t), JSON.stringify(JSON.parse(t), null, 1) === t];
	},
	generatedCode() {
		let sum = 0;
		for (let i = 0; i < times(200); i++) {
			const f = new Function('a', 'b', `let s = ${i}; for (let j = 0; j < 300; j++) s = s * ${i % 9 + 2} + (a ^ j) - b * ${i} | 0; return s;`);
			for (let j = 0; j < 20; j++)
				sum = sum + f(j, i) | 0;
		}
		return sum;
	},
	wasm() {
		// (func (export "f") (param $n i32) (result i64) (local $x i64): a loop of i64 arithmetic and stores.
		const body = [1, 1, 126,
			3, 64, // loop: x = x * 1103515245 + n
			32, 1, 66, 237, 156, 153, 142, 4, 126, 32, 0, 173, 124, 33, 1,
			32, 0, 65, 255, 31, 113, 65, 3, 116, 32, 1, 55, 3, 0, // memory[(n & 4095) << 3] = x
			32, 1, 66, 13, 137, 33, 1, // x = rotl(x, 13)
			32, 0, 65, 1, 107, 34, 0, 13, 0, 11, // while (--n)
			65, 128, 8, 41, 3, 0, 32, 1, 133, 11]; // memory[1024] ^ x
		const code = Uint8Array.from([0, 97, 115, 109, 1, 0, 0, 0, 1, 6, 1, 96, 1, 127, 1, 126, 3, 2, 1, 0, 5, 3, 1, 0, 1,
			7, 5, 1, 1, 102, 0, 0, 10, body.length + 2, 1, body.length, ...body]);
		const { f } = new WebAssembly.Instance(new WebAssembly.Module(code)).exports;
		return [1, 1000, times(1000000)].map((k) => f(k));
	},
	atomics() {
		const shared = new Int32Array(new SharedArrayBuffer(64));
		for (let i = 0; i < times(100000); i++) {
			Atomics.add(shared, i % 16, i);
			Atomics.xor(shared, (i + 3) % 16, i);
			Atomics.compareExchange(shared, i % 7, shared[i % 7], i);
		}
		return Array.from(shared);
	},
};

const text = (x) => JSON.stringify(x, (_, v) => typeof v === 'bigint' ? v + 'n' : v);
for (const [name, f] of Object.entries(sections))
	console.log(name, text(f()));

async function later() {
	let sum = 0;
	for await (const x of (async function* () { for (let i = 0; i < times(3000); i++) yield i; })())
		sum += await Promise.resolve(x * 2);
	console.log('promises', sum);
	const zlib = require('zlib');
	const data = Buffer.from(Array.from({ length: times(100000) }, (_, i) => rnd(1 + i % 60) + 32));
	for (const [name, pack, unpack] of [['gzip', zlib.gzipSync, zlib.gunzipSync],
		['brotli', zlib.brotliCompressSync, zlib.brotliDecompressSync]])
		console.log(name, data.equals(unpack(pack(data, { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 5 } }))));
	if (!scale)
		return;
	const { Worker } = require('worker_threads');
	const program = `const { parentPort, workerData } = require('worker_threads'); let s = workerData;
		for (let i = 0; i < 300000; i++) s = s * 16807 % 2147483647; parentPort.postMessage(s);`;
	const answers = await Promise.all([1, 2, 3].map((k) => new Promise((resolve, reject) =>
		new Worker(program, { eval: true, workerData: k }).on('message', resolve).on('error', reject))));
	console.log('workers', answers);
}
later();

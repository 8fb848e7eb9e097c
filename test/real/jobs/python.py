# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# Each section prints what it computed, or a hash of it.
import array, base64, bisect, binascii, collections, datetime, decimal, fractions, functools, hashlib, heapq
import itertools, json, math, operator, os, pickle, random, re, statistics, string, struct, subprocess, sys
import textwrap, threading, unicodedata, zlib, bz2, lzma, ctypes, gc, io, mmap, signal, queue, copy, enum

n = int(sys.argv[1])
random.seed(20260101)
sys.set_int_max_str_digits(0)


def digest(x):
    return hashlib.sha256(repr(x).encode()).hexdigest()[:32]


def big_integers():
    a, b = 3 ** 2000 + 7, 7 ** 1111 - 5
    yield digest((a * b, a // b, a % b, -a // b, divmod(-a, b), a << 777, b >> 55, a & b, a | -b, a ^ b))
    yield pow(3, 10 ** 60 + 7, 10 ** 61 + 3), math.isqrt(a) % 10 ** 20, math.gcd(a * 9, b * 6)
    yield digest(math.factorial(2000)), len(str(2 ** 20000)), int("z" * 300, 36) % 1000003
    x, y = 0, 1
    for _ in range(3000 * n):
        x, y = y, x + y
    yield digest(x), x.bit_length(), x.bit_count()


def floats():
    xs = [random.uniform(-1, 1) * 10.0 ** random.randint(-300, 300) for _ in range(4000 * n)]
    yield digest(xs), digest([x.hex() for x in xs]), digest(["%.3e %g %f" % (x, x, x % 1e5) for x in xs])
    yield digest([float(repr(x)) == x for x in xs]), math.fsum(xs), sum(sorted(map(abs, xs)))
    yield [math.sqrt(i) for i in range(20)], [math.floor(x * 10) for x in (1.25, -1.25, 0.05)], 0.1 + 0.2
    yield digest([math.frexp(x) for x in xs]), [round(2.675, i) for i in range(4)], 1e308 * 10, -1e308 * 10
    yield float("nan"), math.copysign(0.0, -1), 5e-324 / 2, 2.0 ** -1074, (7.0).as_integer_ratio()
    yield digest([x.as_integer_ratio() for x in xs]), statistics.fmean(xs), [complex(1, i) ** 3 for i in range(6)]
    yield digest([math.fmod(x, 3.7) for x in xs]), [divmod(x, 0.3) for x in (7.5, -7.5, 1e17)]


def decimals():
    with decimal.localcontext() as c:
        c.prec = 200
        yield decimal.Decimal(2).sqrt(), decimal.Decimal(1).exp(), decimal.Decimal(10).ln()
        yield sum(decimal.Decimal(1) / i for i in range(1, 400 * n)), decimal.Decimal("1e-7") ** 13
    yield sum(fractions.Fraction(1, i) for i in range(1, 200))
    yield digest([decimal.Decimal(i) / 7 % 3 for i in range(3000 * n)])


def containers():
    d = {}
    for i in range(30000 * n):
        k = random.randrange(9000)
        d[k] = d.get(k, 0) + i
        if i % 5 == 0:
            d.pop(random.randrange(9000), None)
    yield digest(d), digest(sorted(d.items(), key=lambda p: (p[1] % 1000, -p[0])))
    words = ["".join(random.choices(string.ascii_lowercase, k=random.randint(1, 6))) for _ in range(8000 * n)]
    yield collections.Counter(words).most_common(8), digest(sorted(words)), digest(sorted(set(words), key=len))
    heap = []
    for w in words:
        heapq.heappush(heap, (len(w), w))
    yield digest([heapq.heappop(heap) for _ in range(len(heap))])
    s = []
    for w in words[:2000]:
        bisect.insort(s, w)
    yield digest(s), digest(frozenset(range(100)) ^ set(range(50, 150)))
    queue_ = collections.deque(range(100), maxlen=64)
    queue_.rotate(7)
    yield list(queue_)[:10], digest(list(itertools.permutations(range(6)))), functools.reduce(operator.mul, range(1, 30))
    yield digest(list(itertools.combinations("abcdefghij", 4))), list(itertools.accumulate(range(10), max))


def text():
    s = " ".join(random.choice(["alpha", "Beta9", "ga-mma", "δέλτα", "ёж", "日本", "😀x"]) + str(i * 37 % 101)
                 for i in range(6000 * n))
    yield digest(s), len(s.encode()), len(s.encode("utf-16")), digest(s.upper()), digest(s.title().casefold())
    yield len(re.findall(r"(\d)\1", s)), len(re.findall(r"\b[ab]\w+?(?=9)", s, re.I)), digest(re.split(r"[-\s]+", s))
    yield digest(re.sub(r"(\w+)-(\w+)", lambda m: m[2] + m[1][::-1], s)), digest(s.translate({97: "AA", 0x451: None}))
    yield unicodedata.normalize("NFD", "Åéîõü")[:9].encode(), unicodedata.name("ß"), "%08.3f|%-8s|%+d" % (3.14159, "x", 5)
    yield f"{1234567.891:,.2f} {255:#x} {255:b} {'mid':^9} {1e-10:g} {-5:05d}", textwrap.fill(s[:300], 40)
    yield digest([chr(i) for i in range(0x3000) if chr(i).isalpha()])


def serialised():
    data = {"k%d" % i: [i, i / 3, None, True, "é\n\"" * (i % 3), {"n": [i] * (i % 4)}] for i in range(2500 * n)}
    j = json.dumps(data, sort_keys=True)
    p = pickle.dumps(data, 4)
    yield digest(j), json.loads(j) == data, digest(p), pickle.loads(p) == data, digest(json.dumps(data, indent=1))
    raw = j.encode()
    for pack, unpack in ((zlib.compress, zlib.decompress), (bz2.compress, bz2.decompress), (lzma.compress, lzma.decompress)):
        packed = pack(raw[:200000])
        yield pack.__module__, digest(packed), unpack(packed) == raw[:200000]
    yield zlib.crc32(raw), zlib.adler32(raw), binascii.crc_hqx(raw, 0), digest(base64.b85encode(raw))
    yield [hashlib.new(h, raw).hexdigest()[:16] for h in ("md5", "sha1", "sha512", "sha3_384", "blake2b", "blake2s")]
    yield hashlib.pbkdf2_hmac("sha256", b"p", b"s", 2000).hex(), digest(hashlib.scrypt(b"p", salt=b"s", n=1024, r=8, p=1))
    yield struct.pack("<bHiQfd3s?", -1, 65535, -5, 2 ** 63, 1.5, math.pi, b"abc", True).hex(), struct.unpack(">ed", b"\x3c\1" * 5)
    a = array.array("d", (i / 9 for i in range(1000)))
    a.byteswap()
    yield digest(a.tobytes()), digest(bytes(memoryview(raw)[::-3])), raw.count(b"ll"), raw.rfind(b"k77")


def interpreter():
    def fib(i):
        return i if i < 2 else fib(i - 1) + fib(i - 2)

    def walk(t):
        if t:
            yield from walk(t[0])
            yield t[1]
            yield from walk(t[2])

    class Base:
        __slots__ = ("x",)

        def __init__(self, x):
            self.x = x

        def __add__(self, other):
            return type(self)(self.x * 3 + other.x & 0xffff)

    class Sub(Base):
        def __lt__(self, other):
            return (self.x ^ 0x55) < (other.x ^ 0x55)

    tree = None
    for i in random.sample(range(4000), 800):
        def put(t):
            return (None, i, None) if t is None else (put(t[0]), t[1], t[2]) if i < t[1] else (t[0], t[1], put(t[2]))
        tree = put(tree)
    yield fib(20), digest(list(walk(tree))), digest([s.x for s in sorted(map(Sub, random.sample(range(9999), 3000)))])
    yield functools.reduce(operator.add, map(Sub, range(20000 * n))).x
    caught = collections.Counter()
    for i in range(6000 * n):
        try:
            [lambda: 1 // (i % 3), lambda: [][i], lambda: {}[i], lambda: int("x%d" % i)][i % 4]()
        except (ArithmeticError, LookupError, ValueError) as e:
            caught[type(e).__name__] += 1
        finally:
            caught["finally"] += i & 1
    yield sorted(caught.items())
    try:
        (lambda f: f(f))(lambda f: f(f))
    except RecursionError as e:
        yield str(e)
    names = {}
    exec(compile("def f(a, *b, c=3, **d):\n return [a*i for i in b if i%2] + [c] + sorted(d)", "f", "exec"), names)
    yield names["f"](3, *range(9), z=1, y=2), sys.getrefcount(object()), gc.collect() >= 0
    sieve = bytearray([1]) * (60000 * n)
    for i in range(2, 245):
        if sieve[i]:
            sieve[i * i::i] = bytes(len(range(i * i, len(sieve), i)))
    yield sum(sieve) - 2
    yield datetime.date(2024, 2, 29) + datetime.timedelta(days=365 * 7), datetime.datetime(1999, 12, 31).isocalendar()[:]


def system():
    compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
    values = (ctypes.c_int * 500)(*random.sample(range(100000), 500))
    ctypes.CDLL(None).qsort(values, len(values), ctypes.sizeof(ctypes.c_int), compare(lambda a, b: a[0] - b[0]))
    yield digest(list(values))
    todo, done = queue.Queue(), []
    lock = threading.Lock()

    def worker():
        while (job := todo.get()) is not None:
            r = sum(i * i % 7 for i in range(job))
            with lock:
                done.append((job, r))
    threads = [threading.Thread(target=worker) for _ in range(5)]
    for t in threads:
        t.start()
    for job in range(300):
        todo.put(job)
    for t in threads:
        todo.put(None)
    for t in threads:
        t.join()
    yield digest(sorted(done))
    seen = []
    signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    x = 1.5
    while len(seen) < 20:
        for _ in range(1000):
            x = (x * 1.0001 + 0.5) % 1000.0
            assert 0 <= x < 1000, x
    signal.setitimer(signal.ITIMER_REAL, 0)
    yield "20 signals"
    shared = mmap.mmap(-1, 65536)
    children = []
    for c in range(4):
        pid = os.fork()
        if pid == 0:
            for i in range(c, 65536, 4):
                shared[i] = i * 7 + c & 255
            os._exit(c)
        children.append(pid)
    yield [os.waitstatus_to_exitcode(os.waitpid(p, 0)[1]) for p in children], digest(shared[:])
    p = subprocess.run(["sort", "-n"], input="\n".join(map(str, random.sample(range(9999), 2000))), text=True, capture_output=True)
    yield p.returncode, digest(p.stdout)
    p = subprocess.run([sys.executable, "-S", "-c", "import ctypes; ctypes.string_at(0)"], capture_output=True)
    yield p.returncode


for section in (big_integers, floats, decimals, containers, text, serialised, interpreter, system):
    for i, line in enumerate(section()):
        print(section.__name__, i, line, flush=True)

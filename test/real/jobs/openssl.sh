# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
# needs: openssl
key=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
iv=0102030405060708090a0b0c0d0e0f10
openssl version
for i in $(seq "$n"); do
	{ echo "$i" && tail -c 600000 "$real/data"; } >data
	for d in md5 sha1 sha256 sha512 sha3-256 shake128 blake2s256 blake2b512; do
		openssl dgst -$d data
	done
	openssl dgst -sha256 -mac HMAC -macopt hexkey:$key data
	for c in aes-128-cbc aes-256-cbc aes-256-ctr aes-192-cfb camellia-256-cbc chacha20 des-ede3-cbc; do
		case $c in *128*) k=32 ;; *192* | des*) k=48 ;; *) k=64 ;; esac
		case $c in des*) v=16 ;; *) v=32 ;; esac
		set -- -$c -K "$(echo $key | cut -c 1-$k)" -iv "$(echo $iv | cut -c 1-$v)"
		openssl enc "$@" -in data -out secret
		sha256sum <secret
		openssl enc -d "$@" -in secret | cmp - data && echo "$c: the same"
	done
	openssl enc -aes-256-cbc -pbkdf2 -iter 5000 -S 0011223344556677 -pass pass:secret -in data | sha256sum
done

# Keys made here differ from run to run, signatures with them too: each has to verify.
for a in "RSA -pkeyopt rsa_keygen_bits:1024" "EC -pkeyopt ec_paramgen_curve:P-256" "EC -pkeyopt ec_paramgen_curve:secp384r1" \
	ED25519 ED448; do
	openssl genpkey -algorithm $a -out key 2>/dev/null || exit 1
	openssl pkey -in key -check -noout
	openssl pkey -in key -pubout -out public
	raw=
	case $a in ED*) raw=-rawin ;; esac
	head -c 60 "$real/data" | openssl dgst -sha256 -binary >digest
	openssl pkeyutl -sign $raw -inkey key -in digest -out signature
	openssl pkeyutl -verify $raw -pubin -inkey public -in digest -sigfile signature
done
# Signatures with a given Edwards key are always the same: 32 or 57 bytes behind the head of PKCS#8.
{ printf '\060\056\002\001\000\060\005\006\003\053\145\160\004\042\004\040' && head -c 32 "$real/data"; } >25519
{ printf '\060\107\002\001\000\060\005\006\003\053\145\161\004\073\004\071' && head -c 57 "$real/data"; } >448
for e in 25519 448; do
	openssl pkey -inform DER -in $e -out key && openssl pkey -in key -pubout || exit 1
	openssl pkeyutl -sign -rawin -inkey key -in data -out signature && sha256sum signature
done
openssl prime 170141183460469231731687303715884105727 170141183460469231731687303715884105729
openssl prime -hex 100000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000015F
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa 2>/dev/null
openssl req -x509 -new -key rsa -subj /CN=hyve -days 3000 -out cert 2>/dev/null
openssl verify -CAfile cert cert
openssl speed -seconds 1 -bytes 1024 -evp aes-256-gcm >speed 2>&1 && echo "speed: ended"

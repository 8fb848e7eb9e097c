# SPDX-License-Identifier: BSD-2-Clause
# Copyright (c) 2026, the hyve authors
#
# bash completion: what it offers against the code's own tables (test/tools/tables), and bash itself, on a terminal.
BUILD=${BUILD:-build}
HYVE=$(realpath "${HYVE:-$BUILD/hyve}")
HYVECTL=$(realpath "${HYVECTL:-$BUILD/hyvectl}")
TABLES=${TABLES:-$BUILD/test/tools/tables}
COMPLETION=$(realpath "${COMPLETION:-tools/completion/hyve}")
LC_ALL=C
export LC_ALL
dir=$(mktemp -d)
HYVE_RUNDIR=$dir/run
export HYVE_RUNDIR
pids=
# Ends what is left, by its id.
finish() {
	for pid in $pids; do
		kill -KILL "$pid" 2>/dev/null
	done
	rm -rf "$dir"
}
trap finish EXIT
n=0
failed=0

# verdict NAME COMPLAINTS
verdict() {
	n=$((n + 1))
	[ -z "$2" ] && echo "ok $n - $1" && return
	echo "not ok $n - $1"
	echo "$2" | sed 's/^/# /'
	failed=1
}
# offered LINE: what is offered behind that, one a line; "+" in front: no blank follows.  Words are readline's: of
# "a=b" the part behind "=".
offered() {
	case $1 in hyvectl*) program=$HYVECTL ;; *) program=$HYVE ;; esac
	(cd "$dir" && bash -c '
		no_blank=
		compopt() { [[ $2 == nospace ]] && no_blank=+; }
		. "$1"
		COMP_WORDBREAKS=$'"' \\t\\n\"\\'><=;|&(:'"'
		COMP_LINE=$3 COMP_POINT=${#3}
		function="_${3%% *}"
		"$function" "$2"
		((${#COMPREPLY[@]} == 1)) || no_blank=
		((${#COMPREPLY[@]})) && printf "$no_blank%s\n" "${COMPREPLY[@]}"' bash "$COMPLETION" "$program" "$1" 2>&1)
}
# offers LINE WORD...: just these, in any order.
offers() {
	line=$1
	shift
	printf '%s\n' "$@" | sed '/^$/d' | sort >"$dir/wanted"
	offered "$line" | sed '/^$/d' | sort >"$dir/got"
	verdict "$line<TAB>" "$(diff "$dir/wanted" "$dir/got" | grep '^[<>]')"
}
# lists LINE: the same of what stands in $dir/list.
lists() {
	sort -u "$dir/list" >"$dir/wanted"
	offered "$1" | sed 's/^+//' | sort >"$dir/got"
	verdict "$1<TAB>, as the code has it" "$([ -s "$dir/wanted" ] || echo "the code has none"
		diff "$dir/wanted" "$dir/got" | grep '^[<>]')"
}
rows() {
	sed -n "s/^$1 //p" "$dir/tables"
}
"$TABLES" >"$dir/tables" || exit 1
mkdir "$dir/images" "$dir/run"
chmod 700 "$dir/run"
touch "$dir/images/a.qcow2" "$dir/images/b c.img" "$dir/kernel"

# ---- hyve ----
rows option | awk '{ print $1 }' >"$dir/list"
lists "hyve -"
offers "hyve -m 1G --ker" --kernel
offers "hyve --init" --initrd
offers "hyve -m "
offers "hyve --backend s" soft
"$HYVE" --preflight | awk '{ print $1 } END { print "auto" }' >"$dir/list"
lists "hyve --backend "
"$HYVE" -l help | sed '/^com\|bootrom/s/$/,/; $s/$/\nhelp/' >"$dir/list"
lists "hyve -l "
offers "hyve -l com2" +com2,
offers "hyve -l com2," com2,stdio com2,pty com2,file=
offers "hyve -l com2,s" com2,stdio
offers "hyve -l com2,file=ima" +images/
offers "hyve -l bootrom,ker" +bootrom,kernel
offers "hyve --kernel ker" kernel
offers "hyve -k im" images
offers "hyve -c " cpus= sockets= cores= threads=
offers "hyve -c cpus=4," 4,sockets= 4,cores= 4,threads=
offers "hyve -s " +3,
offers "hyve -s 3,hostbridge -s 4,lpc -s " +5,
offers "hyve -s 1" 10, 11, 12, 13, 14, 15, 16, 17, 18, 19,
rows first | awk '{ print $1 }' >"$dir/first"
rows device | while read -r name; do
	grep -qx "$name" "$dir/first" && echo "3,$name," || echo "3,$name"
done >"$dir/list"
lists "hyve -s 3,"
offers "hyve -s 3,virtio-b" +3,virtio-blk,
offers "hyve -s 3,virtio-rn" 3,virtio-rnd
offers "hyve -s 3,virtio-blk,images/" "3,virtio-blk,images/a.qcow2" '3,virtio-blk,images/b\ c.img'
offers "hyve -s 4,virtio-net," 4,virtio-net,slirp 4,virtio-net,tap 4,virtio-net,null
offers "hyve -s 4,virtio-net,slirp,hostf" +4,virtio-net,slirp,hostfwd=
offers "hyve -s 0:3:0,virtio-blk,x,format" +0,virtio-blk,x,format=
offers "hyve -s 4,virtio-net,slirp,hostfwd=tcp:127.0.0.1:2222-:22,ipv" +22,ipv6=
offers "hyve -s 5,virtio-console,console=" stdio pty file=
offers "hyve -s 3,nothing,"
for name in $(rows device); do
	first=$(rows first | sed -n "s/^$name //p")
	rows "key $name" | grep -vF '[' | grep -vx "$first" | sed "s/.*/3,$name,${first:+x,}&=/" >"$dir/list"
	[ -s "$dir/list" ] && lists "hyve -s 3,$name,${first:+x,}"
done
{
	echo help
	rows setting | grep -v '[[*]' | sed 's/$/=/'
	rows setting | sed -n 's/\*$//p'
	echo "lpc.com1.path= lpc.com2.path= lpc.com3.path= lpc.com4.path=" | tr ' ' '\n'
} >"$dir/list"
lists "hyve -o "
offers "hyve -o pci" +pci.
offers "hyve -o config.d" +config.dump=
offers "hyve -o backend=so" soft
offers "hyve -o kernel.path=ker" +kernel
offers "hyve -o lpc.com1.path=st" stdio

# ---- hyvectl ----
"$HYVECTL" --help | sed '/^options, in/q' | grep -oE -- '--[a-z-]+=?' | sort -u >"$dir/own"
rows verb | sed 's/^\([^ ]*\) =$/--\1=/; s/^\([^ ]*\) -$/--\1/' | sort -u - "$dir/own" >"$dir/list"
lists "hyvectl --"
offers "hyvectl l" list
offers "hyvectl --vm=x t" top
offers "hyvectl --vm=x --get-desc-g" --get-desc-gs --get-desc-gdtr
offers "hyvectl --vm=x --set-cr" --set-cr0= --set-cr2= --set-cr3= --set-cr4=
rows capability >"$dir/list"
lists "hyvectl --vm=x --getcap --capname="
offers "hyvectl --vm="
offers "hyvectl --rundir=ima" +images/
# start NAME: a guest that waits, on two vcpus.
start() {
	"$HYVE" -c 2 -m 16M -l com1,file=/dev/null --kernel "$BUILD/test/cmd/counter" "$1" </dev/null >/dev/null 2>&1 &
	pids="$pids$! "
	for _ in $(seq 100); do
		"$HYVECTL" list 2>/dev/null | grep -qF "$1" && return
		sleep 0.05
	done
}
# The second is somebody's trap.
start demo
start '$(touch trap) x'
offers "hyvectl --vm=" demo '\$\(touch\ trap\)\ x'
offers "hyvectl --vm=d" demo
offers "hyvectl --rundir=run --vm=d" demo
offers "hyvectl --rundir=images --vm=d"
offers "hyvectl --vm=demo --cpu=" 0 1
verdict "nothing is expanded" "$([ -e "$dir/trap" ] && echo "a name was")"

# ---- bash, on a terminal ----
# Typed as by a user, each TAB completes; hyve then says what it was given.
if command -v script >/dev/null; then
	mkdir "$dir/bin"
	ln -s "$HYVE" "$dir/bin/hyve"
	ln -s "$HYVECTL" "$dir/bin/hyvectl"
	printf 'PS1="> "\n. %s\ncd %s\nPATH=%s/bin:$PATH\n' "$COMPLETION" "$dir" "$dir" >"$dir/rc"
	{
		sleep 1
		printf 'hyve -l com1,fi\tout --ker\tkern\t-s 3,virtio-b\timages/a\tx -s 4,virtio-n\tsl\t,hostf\ttcp::1-:2,ipv\toff '
		printf -- '-o config.du\ttrue vm >dump\n'
		printf 'hyvectl --vm=de\t--get-vm\t >pid\n'
		printf 'exit\n'
		sleep 2
	} | timeout -k 5 60 script -qec "bash --noprofile --rcfile $dir/rc -i" /dev/null >"$dir/session" 2>&1
	cat >"$dir/wanted" <<-END
		kernel.path=kernel
		lpc.com1.path=file=out
		name=vm
		pci.0.3.0.device=virtio-blk
		pci.0.3.0.path=images/a.qcow2x
		pci.0.4.0.backend=slirp
		pci.0.4.0.device=virtio-net
		pci.0.4.0.hostfwd=tcp::1-:2
		pci.0.4.0.ipv6=off
	END
	verdict "hyve's on a terminal" "$(diff "$dir/wanted" "$dir/dump" 2>&1 | grep '^[<>d]' && cat "$dir/session")"
	verdict "hyvectl's on a terminal" "$([ "$(cat "$dir/pid")" = "${pids%% *}" ] || cat "$dir/session")"
else
	n=$((n + 1))
	echo "ok $n - on a terminal # SKIP no script(1)"
fi
echo "1..$n"
exit $failed

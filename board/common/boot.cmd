# U-Boot's script on every board: picks the slot of the root file system and starts its kernel. RAUC writes the same
# variables through usr/lib/hindcap/slot: BOOT_ORDER, the slots by preference; BOOT_A_LEFT and BOOT_B_LEFT, how often a slot
# may still be tried: nine times once confirmed, which every good start fills up, three times after an update. A box from
# the shop has one slot that is confirmed and one that is empty.
test -n "${BOOT_ORDER}" || setenv BOOT_ORDER "A B"
test -n "${BOOT_A_LEFT}" || setenv BOOT_A_LEFT 9
test -n "${BOOT_B_LEFT}" || setenv BOOT_B_LEFT 0

# A slot that holds no root file system, a squashfs, is never tried.
mmc dev ${devnum}
for name in a b; do
	part start mmc ${devnum} hindcap-${name} start
	mmc read ${kernel_addr_r} ${start} 1
	setexpr.l holds_${name} *${kernel_addr_r}
done
test "${holds_a}" = "73717368" || setenv BOOT_A_LEFT 0
test "${holds_b}" = "73717368" || setenv BOOT_B_LEFT 0
if test ${BOOT_A_LEFT} -eq 0 -a ${BOOT_B_LEFT} -eq 0; then
	# Neither has a try left, after ten power cuts within minutes say: better the same again than a box that stays off.
	test "${holds_a}" != "73717368" || setenv BOOT_A_LEFT 3
	test "${holds_b}" != "73717368" || setenv BOOT_B_LEFT 3
fi

setenv slot
for name in ${BOOT_ORDER}; do
	if test -n "${slot}"; then
		true
	elif test "${name}" = "A" -a ${BOOT_A_LEFT} -gt 0; then
		setexpr BOOT_A_LEFT ${BOOT_A_LEFT} - 1
		setenv slot a
	elif test "${name}" = "B" -a ${BOOT_B_LEFT} -gt 0; then
		setexpr BOOT_B_LEFT ${BOOT_B_LEFT} - 1
		setenv slot b
	fi
done
if test -z "${slot}"; then
	echo "Hindcap: neither slot holds a root file system"
	reset
fi
saveenv

part number mmc ${devnum} hindcap-${slot} number
part uuid mmc ${devnum}:${number} uuid
# The Raspberry Pi's firmware leaves a device tree in memory; on other boards the slot has it.
if test -n "${fdt_addr}"; then
	setenv tree ${fdt_addr}
else
	setenv tree ${fdt_addr_r}
	load mmc ${devnum}:${number} ${tree} /boot/${fdtfile}
fi
setenv bootargs "console=@CONSOLE@ root=PARTUUID=${uuid} rootfstype=squashfs ro rootwait ipv6.disable_ipv6=1 quiet panic=5"
# The kernel of a 64-bit board, else of a 32-bit one.
if load mmc ${devnum}:${number} ${kernel_addr_r} /boot/Image; then
	booti ${kernel_addr_r} - ${tree}
elif load mmc ${devnum}:${number} ${kernel_addr_r} /boot/zImage; then
	bootz ${kernel_addr_r} - ${tree}
fi
reset

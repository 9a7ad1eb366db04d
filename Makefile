# SPDX-License-Identifier: BSD-2-Clause
# Farbus: `make help` lists what can be made. Everything made lands under build/; sources are found by wildcard.

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules
ifneq ($(V),1)
Q := @
say = @printf '  %-8s %s\n' '$(1)' '$(2)'
endif

CC      := gcc
CLANG   := clang
PYTHON  := /usr/bin/python3
MACHINE ?= auto

deps_dir := build/deps
LIBC     := $(deps_dir)/newlib/lib/libc.a
LIBC_EFI := $(deps_dir)/newlib/lib/libc-efi.a
LWIP     := $(deps_dir)/src/lwip/src
ZYDIS    := $(deps_dir)/src/zydis
ZYCORE   := $(deps_dir)/src/zycore
INIH     := $(deps_dir)/src/inih
BEARSSL  := $(deps_dir)/src/bearssl
FONT     := $(deps_dir)/font/console.psf

# tree FOLDER...: every C and assembler file under the folders
tree = $(sort $(foreach d,$(1),$(shell [ ! -d $(d) ] || find $(d) -name '*.c' -o -name '*.S')))
shared_src := $(call tree,rt drivers net)
hv_src     := $(call tree,hv)
remote_src := $(call tree,remote-fw)
boot_src   := $(call tree,boot)
asl_src    := $(sort $(shell [ ! -d hv ] || find hv -name '*.asl'))

lwip_src  := $(wildcard $(LWIP)/core/*.c $(LWIP)/core/ipv4/*.c) $(wildcard $(LWIP)/netif/ethernet.c)
zydis_src := $(addprefix $(ZYDIS)/src/,Decoder.c DecoderData.c MetaInfo.c Mnemonic.c Register.c Segment.c SharedData.c String.c Utils.c Zydis.c)
zydis_src := $(wildcard $(zydis_src))
inih_src  := $(wildcard $(INIH)/ini.c)
# Only what net/crypto.c uses: nothing that looks up tables by a secret. Some files use vector registers (rt/fpu.h lends them).
bearssl_src := $(addprefix $(BEARSSL)/src/,hash/sha2small.c mac/hmac.c rand/hmac_drbg.c ec/ec_c25519_m31.c symcipher/chacha20_sse2.c \
               symcipher/poly1305_ctmulq.c symcipher/aes_x86ni.c symcipher/aes_x86ni_ctr.c hash/ghash_pclmul.c codec/dec32be.c codec/enc32be.c \
               codec/ccopy.c)
bearssl_src := $(wildcard $(bearssl_src))

zydis_def := -DZYDIS_STATIC_BUILD -DZYCORE_STATIC_BUILD -DZYAN_NO_LIBC -DZYDIS_DISABLE_FORMATTER -DZYDIS_DISABLE_ENCODER \
             -DZYDIS_DISABLE_AVX512 -DZYDIS_DISABLE_KNC -DZYDIS_DISABLE_SEGMENT
inih_def  := -DINI_API= -DINI_ALLOW_MULTILINE=0 -DINI_ALLOW_INLINE_COMMENTS=0 -DINI_STOP_ON_FIRST_ERROR=1 -DINI_CALL_HANDLER_ON_NEW_SECTION=1 \
             -DINI_HANDLER_LINENO=1 -DINI_USE_STACK=1 -DINI_MAX_LINE=2200 -DINI_ALLOW_BOM=1
bearssl_def := -DBR_64=1 -DBR_INT128=1 -DBR_SSE2=1 -DBR_AES_X86NI=1 -DBR_RDRAND=0 -DBR_USE_URANDOM=0 -DBR_USE_WIN32_RAND=0 \
               -DBR_USE_UNIX_TIME=0 -DBR_USE_WIN32_TIME=0 -DBR_POWER8=0
third_inc := -Inet/lwip -isystem $(LWIP)/include -isystem $(ZYDIS)/include -isystem $(ZYDIS)/src -isystem $(ZYCORE)/include -isystem $(INIH) \
             -isystem $(BEARSSL)/inc

warn     := -Wall -Wextra -Wconversion -Wshadow -Wvla -Werror
gcc_inc  := $(shell $(CC) -print-file-name=include 2>/dev/null)
bare     := -ffreestanding -nostdinc -isystem $(gcc_inc) -isystem $(deps_dir)/newlib/include -mno-red-zone -mgeneral-regs-only \
            -fno-omit-frame-pointer -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables -ffunction-sections \
            -fdata-sections -ffile-prefix-map=$(CURDIR)/= -MMD -MP
target   := -std=c17 -O2 -g $(bare) -fno-pic -mcmodel=kernel -I. -include rt/builtin.h $(third_inc) $(zydis_def)
efi      := -std=c17 -D_DEFAULT_SOURCE -O2 -g $(bare) -fpic -fshort-wchar -fvisibility=hidden -maccumulate-outgoing-args -DGNU_EFI_USE_MS_ABI -I. \
            -isystem /usr/include/efi -isystem /usr/include/efi/x86_64 -isystem $(INIH) $(inih_def)
host     := -std=c17 -O1 -g -D_DEFAULT_SOURCE -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -MMD -MP -I. \
            $(third_inc) $(zydis_def) $(inih_def)

# object KIND SOURCE...: where the object of a source goes; third-party files keep their place under obj/KIND/build/deps
object = $(patsubst %,build/obj/$(1)/%.o,$(2))

shared_obj := $(call object,target,$(shared_src)) $(if $(wildcard net/lwip/lwipopts.h),$(call object,target,$(lwip_src))) $(call object,target,$(bearssl_src)) build/obj/target/font.o
hv_obj     := $(call object,target,$(hv_src) $(zydis_src)) $(patsubst %.asl,build/obj/target/%.aml.o,$(asl_src))
remote_obj := $(call object,target,$(remote_src))
rt_test_obj := $(call object,target,$(call tree,tests/rt))
boot_obj   := $(call object,efi,$(boot_src) $(inih_src))

guests     := $(filter-out lib,$(sort $(notdir $(patsubst %/,%,$(dir $(wildcard tests/guests/*/*.[cS]))))))
guest_elfs := $(patsubst %,build/guests/%.elf,$(guests))
linux_bin  := $(patsubst tests/linux/%.c,build/linux/%,$(sort $(wildcard tests/linux/*.c)))
unit_src   := $(sort $(wildcard tests/unit/test_*.c))
unit_bin   := $(patsubst tests/unit/%.c,build/unit/%,$(unit_src))
fuzz_src   := $(sort $(wildcard tests/fuzz/fuzz_*.c))
fuzz_bin   := $(patsubst tests/fuzz/%.c,build/fuzz/%,$(fuzz_src))

# A room that is still empty does not stop the others.
elfs := $(if $(shared_src),$(if $(hv_src),build/hv.elf) $(if $(remote_src),build/remote-fw.elf) $(if $(rt_test_obj),build/selftest.elf))
efis := $(if $(boot_src),build/BOOTX64.EFI)

.PHONY: all help deps usb demo qemu-test test bench soak lan-test lint tidy format clean unit fuzz guests elfs efi
all: $(elfs) $(efis) $(guest_elfs) $(linux_bin) build/bochs-clock.so build/linux/demo.initrd build/esp-host/.made build/esp-remote/.made ## both ELFs, the loader, the test guests, build/esp-host and build/esp-remote
elfs: $(elfs) ## only hv.elf and remote-fw.elf
efi: $(efis) ## only the UEFI loader
guests: $(guest_elfs) ## only the test guests

help: ## this list
	@echo 'make TARGET [V=1] [-jN]'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 14

deps: ## install and fetch all that is needed (Debian 12, root); checks the emulators
	$(Q)tools/deps.sh

$(LIBC) $(LIBC_EFI) $(FONT):
	@echo "$@ is missing: run 'make deps' first" >&2; false

bearssl_vector := $(patsubst %,build/obj/target/$(BEARSSL)/src/%.c.o,symcipher/chacha20_sse2 symcipher/aes_x86ni symcipher/aes_x86ni_ctr hash/ghash_pclmul)
$(bearssl_vector): target := $(filter-out -mgeneral-regs-only,$(target)) -msse4.1 -maes -mpclmul
$(foreach k,target host fuzz,$(call object,$(k),$(bearssl_src))): third := $(bearssl_def) -I$(BEARSSL)/src -fno-sanitize=alignment -fbuiltin

# ---- bare-metal objects ----------------------------------------------------------------------------------------------
# -MMD leaves out what system headers include, as lwIP's do with its options
$(foreach k,target host fuzz,$(call object,$(k),$(lwip_src) $(wildcard net/*.c))): $(wildcard net/lwip/*.h net/lwip/arch/*.h)

build/obj/target/build/deps/%.c.o: build/deps/%.c Makefile | $(LIBC)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(target) $(third) -w -c $< -o $@

# No access and no frame passes through these (start, console, leases, handshakes): they are made small, the rest fast.
small := $(addprefix drivers/,acpi.c apic.c machine.c nics.c pci.c pci_class.c smp.c uart.c vtd_unit.c) hv/console.c hv/main.c hv/memory.c \
         $(addprefix hv/bus/,assoc.c attach.c guests.c report.c) $(addprefix hv/platform/,acpi_tables.c rtc.c) \
         $(addprefix hv/vm/,linux.c multiboot.c start.c) $(addprefix hv/vmx/,caps.c cpu.c) \
         $(addprefix net/,capture_command.c discovery.c link_handshake.c link_probe.c noise.c report.c) $(addprefix rt/,frames.c panic.c paging.c shell.c start.c)
$(call object,target,$(small)): size := -Os

build/obj/target/%.c.o: %.c Makefile | $(LIBC)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(target) $(size) $(warn) -c $< -o $@

build/obj/target/%.S.o: %.S Makefile | $(LIBC)
	$(call say,AS,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(target) -D__ASSEMBLER__ -c $< -o $@

# The console's font, as _binary_console_psf_start.._end in read-only data.
build/obj/target/font.o: $(FONT) Makefile
	$(call say,FONT,$<)
	$(Q)mkdir -p $(@D)
	$(Q)cd $(<D) && objcopy -I binary -O elf64-x86-64 -B i386:x86-64 --add-section .note.GNU-stack=/dev/null \
		--rename-section .data=.rodata.font,alloc,load,readonly,data,contents $(<F) $(CURDIR)/$@

# hv/platform/NAME.asl becomes _binary_NAME_aml_start.._end.
build/obj/target/%.aml.o: %.asl Makefile
	$(call say,IASL,$<)
	$(Q)mkdir -p $(@D)
	$(Q)iasl -vs -p $(@D)/$(*F) $< >$(@D)/$(*F).iasl.log 2>&1 || { cat $(@D)/$(*F).iasl.log; false; }
	$(Q)cd $(@D) && objcopy -I binary -O elf64-x86-64 -B i386:x86-64 --add-section .note.GNU-stack=/dev/null \
		--rename-section .data=.rodata.aml,alloc,load,readonly,data,contents $(*F).aml $(CURDIR)/$@

link = $(Q)$(CC) -nostdlib -static -no-pie -Wl,-T,linker.ld -Wl,--gc-sections -Wl,-z,noexecstack -Wl,-z,max-page-size=4096 \
	-Wl,--build-id=sha1 -Wl,--fatal-warnings -Wl,-Map,$@.map -o $@

build/hv.elf: $(shared_obj) $(hv_obj) $(LIBC) linker.ld
	$(call say,LD,$@)
	$(link) $(shared_obj) $(hv_obj) $(LIBC)

build/remote-fw.elf: $(shared_obj) $(remote_obj) $(LIBC) linker.ld
	$(call say,LD,$@)
	$(link) $(shared_obj) $(remote_obj) $(LIBC)

# A role of its own that tries the runtime out on a whole machine (tests/system/test_rt.py).
build/selftest.elf: $(shared_obj) $(rt_test_obj) $(LIBC) linker.ld
	$(call say,LD,$@)
	$(link) -Wl,--strip-debug $(shared_obj) $(rt_test_obj) $(LIBC)

# ---- the UEFI loader ---------------------------------------------------------------------------------------------------
build/obj/efi/build/deps/%.c.o: build/deps/%.c Makefile | $(LIBC_EFI)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(efi) -w -c $< -o $@

build/obj/efi/%.c.o: %.c Makefile | $(LIBC_EFI)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(efi) $(warn) -c $< -o $@

build/obj/efi/%.S.o: %.S Makefile | $(LIBC_EFI)
	$(call say,AS,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(efi) -c $< -o $@

efi_link = $(Q)ld -nostdlib -znocombreloc -shared -Bsymbolic --no-undefined --gc-sections -z noexecstack -e _start \
	-T boot/efi.ld /usr/lib/crt0-efi-x86_64.o
efi_pack = $(Q)objcopy -j .text -j .sdata -j .data -j .rodata -j .dynamic -j .dynsym -j .rel -j .rela -j '.rel.*' -j '.rela.*' -j .reloc \
	--target=efi-app-x86_64 --subsystem=10

build/BOOTX64.EFI: $(boot_obj) $(LIBC_EFI) boot/efi.ld
	$(call say,LD,$@)
	$(efi_link) $(boot_obj) -L/usr/lib -lgnuefi $(LIBC_EFI) -o build/BOOTX64.so
	$(efi_pack) build/BOOTX64.so $@

# ---- farbus.ini of both machines: they get keys once, and know each other ------------------------------------------------------
build/ini/.made: tools/ini/host.ini tools/ini/remote.ini tools/farbus-keygen
	$(call say,KEYS,$(@D))
	$(Q)rm -rf $(@D) && $(PYTHON) tools/farbus-keygen --write $(@D) $(filter %.ini,$^) && touch $@

# ---- what the firmware boots from -----------------------------------------------------------------------------------------
build/esp-host/.made: $(efis) $(filter build/hv.elf,$(elfs)) $(filter build/guests/probe.elf,$(guest_elfs)) build/ini/.made Makefile
	$(call say,ESP,$(@D))
	$(Q)rm -rf $(@D) && mkdir -p $(@D)/EFI/BOOT
	$(Q)$(if $(efis),cp $(efis) $(@D)/EFI/BOOT/)
	$(Q)cp build/ini/host.ini $(@D)/farbus.ini
	$(Q)for f in $(filter build/hv.elf build/guests/probe.elf,$^); do objcopy --strip-debug $$f $(@D)/$$(basename $$f); done
	$(Q)touch $@

build/esp-remote/.made: $(efis) $(filter build/remote-fw.elf,$(elfs)) build/ini/.made Makefile
	$(call say,ESP,$(@D))
	$(Q)rm -rf $(@D) && mkdir -p $(@D)/EFI/BOOT
	$(Q)$(if $(efis),cp $(efis) $(@D)/EFI/BOOT/)
	$(Q)cp build/ini/remote.ini $(@D)/farbus.ini
	$(Q)for f in $(filter build/remote-fw.elf,$^); do objcopy --strip-debug $$f $(@D)/$$(basename $$f); done
	$(Q)touch $@

build/farbus-%.img: build/esp-%/.made tools/mkimage.py
	$(call say,IMAGE,$@)
	$(Q)$(PYTHON) tools/mkimage.py --fat 32 build/esp-$* $@

usb: build/farbus-host.img build/farbus-remote.img ## disk images of both machines, for `dd` onto USB sticks

# ---- test guests: one folder, one Multiboot ELF32 ----------------------------------------------------------------------------
guest_flags := -std=c17 -O2 -g -m32 -march=i686 -ffreestanding -nostdinc -isystem $(gcc_inc) -fno-pic -fno-stack-protector -fcf-protection=none \
               -fno-asynchronous-unwind-tables -mgeneral-regs-only -MMD -MP -I. -Itests/guests $(warn)
guest_lib := $(sort $(wildcard tests/guests/lib/*.[cS]))

build/obj/guest/%.c.o: %.c Makefile
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(guest_flags) -c $< -o $@

build/obj/guest/%.S.o: %.S Makefile
	$(call say,AS,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(guest_flags) -c $< -o $@

define guest_rule
guest_obj_$(1) := $$(call object,guest,$$(sort $$(wildcard tests/guests/$(1)/*.[cS])) $$(guest_lib))
build/guests/$(1).elf: $$(guest_obj_$(1)) tests/guests/guest.ld
	$$(call say,LD,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)ld -m elf_i386 -nostdlib -static -z noexecstack --no-warn-rwx-segments -T tests/guests/guest.ld -o $$@ $$(guest_obj_$(1))
endef
$(foreach g,$(guests),$(eval $(call guest_rule,$(g))))

# ---- programs of the laboratory -----------------------------------------------------------------------------------------------
build/bochs-clock.so: tools/bochs-clock.c Makefile
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -std=gnu17 -O2 $(warn) -shared -fPIC -o $@ $<

# ---- programs for Linux guests: static, for any x86-64 Linux ------------------------------------------------------------------
build/linux/%: tests/linux/%.c Makefile
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -std=gnu17 -O2 -s $(warn) -static -pthread -ffile-prefix-map=$(CURDIR)/= -o $@ $<

build/linux/demo.initrd: tools/labs/demo.sh tools/initramfs tools/farbuslab/guest.py build/linux/dmacheck $(wildcard $(deps_dir)/linux/busybox)
	$(call say,CPIO,$@)
	$(Q)$(PYTHON) tools/initramfs --program nvme --program mke2fs --program sfdisk --program build/linux/dmacheck $< $@

# ---- unit tests and fuzzers: compiled for this machine; each names what it links in its LINK: line ----------------------------
keys_src := $(addprefix net/,announce.c crypto.c keys.c link_probe.c link_sealed.c noise.c seal.c)
links = $(shell sed -n 's,^// LINK:,,p' $(1))
expand_links = $(patsubst @%,,$(1)) $(if $(filter @lwip,$(1)),$(lwip_src)) $(if $(filter @zydis,$(1)),$(zydis_src)) $(if $(filter @inih,$(1)),$(inih_src)) $(if $(filter @bearssl @keys,$(1)),$(bearssl_src)) $(if $(filter @keys,$(1)),$(keys_src))
host_src := $(sort $(wildcard tests/unit/host/*.c))

build/obj/host/build/deps/%.c.o: build/deps/%.c Makefile
	$(call say,CC,$< (host))
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(host) $(third) -w -c $< -o $@
build/obj/host/%.c.o: %.c Makefile
	$(call say,CC,$< (host))
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(host) $(warn) -c $< -o $@
build/obj/fuzz/build/deps/%.c.o: build/deps/%.c Makefile
	$(call say,CLANG,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(host) -fsanitize=fuzzer-no-link $(third) -w -c $< -o $@
build/obj/fuzz/%.c.o: %.c Makefile
	$(call say,CLANG,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(host) -fsanitize=fuzzer-no-link $(warn) -c $< -o $@

define unit_rule
unit_obj_$(1) := $$(call object,host,$$(sort tests/unit/$(1).c $$(host_src) $$(call expand_links,$$(call links,tests/unit/$(1).c))))
build/unit/$(1): $$(unit_obj_$(1))
	$$(call say,LD,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(CC) -fsanitize=address,undefined -o $$@ $$^ -lcmocka
endef
define fuzz_rule
fuzz_obj_$(1) := $$(call object,fuzz,$$(sort tests/fuzz/$(1).c $$(host_src) $$(call expand_links,$$(call links,tests/fuzz/$(1).c))))
build/fuzz/$(1): $$(fuzz_obj_$(1))
	$$(call say,LD,$$@)
	$$(Q)mkdir -p $$(@D)
	$$(Q)$$(CLANG) -fsanitize=fuzzer,address,undefined -o $$@ $$^
endef
$(foreach t,$(unit_src),$(eval $(call unit_rule,$(basename $(notdir $(t))))))
$(foreach t,$(fuzz_src),$(eval $(call fuzz_rule,$(basename $(notdir $(t))))))

unit: $(unit_bin) ## unit tests on this machine, with sanitizers (TEST=name: one)
	$(Q)$(PYTHON) tools/run-tests.py unit
fuzz: $(fuzz_bin) ## each fuzzer for a bounded number of runs with a fixed seed (TEST=name: one)
	$(Q)$(PYTHON) tools/run-tests.py fuzz

qemu-test: deps ## whole machines: the system tests (MACHINE=auto|kvm|bochs TEST=name SIDE=how many at a time)
	$(Q)+$(MAKE) --no-print-directory all usb
	$(Q)MACHINE=$(MACHINE) $(PYTHON) tools/run-tests.py system

test: deps ## deps, unit, fuzz and system tests; ends with `N passed, N failed`
	$(Q)+$(MAKE) --no-print-directory all usb unit-binaries fuzz-binaries
	$(Q)MACHINE=$(MACHINE) $(PYTHON) tools/run-tests.py unit fuzz system

.PHONY: unit-binaries fuzz-binaries
unit-binaries: $(unit_bin)
fuzz-binaries: $(fuzz_bin)

demo: deps ## the main job: a Linux guest on one machine uses the NVMe drive of another, both consoles shown
	$(Q)+$(MAKE) --no-print-directory all
	$(Q)MACHINE=$(MACHINE) $(PYTHON) tools/lab tools/labs/demo.toml
bench: deps ## instruction and frame counts, beside their goals and the peers' figures
	$(Q)+$(MAKE) --no-print-directory all
	$(Q)$(PYTHON) tools/bench.py
MINUTES ?= 10
soak: deps ## ten emulated minutes of mixed load with 0.5 % loss, outside `make test` (MINUTES=n)
	$(Q)+$(MAKE) --no-print-directory all
	$(Q)$(PYTHON) tools/soak.py $(MINUTES)
LAN_MIB ?= 64
lan-test: deps ## tests/system/test_lan.py with 64 MiB over TCP each way, beside NVMe traffic, outside `make test` (LAN_MIB=n)
	$(Q)+$(MAKE) --no-print-directory all
	$(Q)FARBUS_LAN_MIB=$(LAN_MIB) TEST=test_lan MACHINE=$(MACHINE) $(PYTHON) tools/run-tests.py system
lint: ## format, licence lines, arrows between rooms, syntax of scripts; seconds
	$(Q)$(PYTHON) tools/lint.py
tidy: ## what clang-tidy says of the bare-metal code (package clang-tidy): advice to judge; minutes
	$(Q)clang-tidy --quiet $(filter %.c,$(shared_src) $(hv_src) $(remote_src)) -- \
		$(subst $(gcc_inc),$(shell $(CLANG) -print-file-name=include),$(filter-out -MMD -MP,$(target)))
format: ## let clang-format rewrite the tree's C files
	$(Q)git ls-files -co --exclude-standard '*.c' '*.h' | xargs -r clang-format -i
clean: ## remove what was made, keep build/deps
	$(Q)find build -mindepth 1 -maxdepth 1 ! -name deps -exec rm -rf {} +

-include $(shell [ ! -d build/obj ] || find build/obj -name '*.d')

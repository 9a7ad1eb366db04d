// SPDX-License-Identifier: BSD-2-Clause
// farbus.ini: what is taken, and the sentence for each thing that is refused.
// LINK: boot/config.c boot/config_keys.c boot/config_node.c boot/config_guest.c
// LINK: boot/config_security.c boot/value.c boot/refusal.c @inih
#include "boot/config.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HOST     "[node]\nname = a\nrole = host\n"
#define REMOTE   "[node]\nname = a\nrole = remote\n"
#define PUBLIC_1 "1111111111111111111111111111111111111111111111111111111111111111"
#define PUBLIC_2 "2222222222222222222222222222222222222222222222222222222222222222"
#define KEYS                                                                                                 \
    "key = 3333333333333333333333333333333333333333333333333333333333333333\n"                               \
    "psk = 4444444444444444444444444444444444444444444444444444444444444444\n"
#define GUEST "[guest g]\nmemory = 64M\nkernel = k.elf\n"

static struct boot_info info;
static struct refusal why;

/// The text in a buffer of its exact size, for ASan.
static enum status parse_bytes(const char *text, size_t size)
{
    char *exact = malloc(size ? size : 1);
    memcpy(exact, text, size);
    memset(&info, 0, sizeof info);
    memset(&why, 0, sizeof why);
    enum status s = config_parse("\\farbus.ini", exact, size, &info, &why);
    free(exact);
    assert_int_equal(s == OK, why.text[0] == '\0');
    return s;
}

static void accept(const char *text)
{
    enum status s = parse_bytes(text, strlen(text));
    if (s != OK)
        fail_msg("refused: %s", why.text);
}

/// `line` and `part` must be in the sentence.
static void refuse_text(const char *text, int line, const char *part)
{
    char start[64];
    if (parse_bytes(text, strlen(text)) == OK)
        fail_msg("accepted, but wanted: %s", part);
    if (line != 0)
        snprintf(start, sizeof start, "\\farbus.ini line %d: ", line);
    else
        snprintf(start, sizeof start, "\\farbus.ini: ");
    if (strncmp(why.text, start, strlen(start)) != 0 || strstr(why.text, part) == NULL)
        fail_msg("'%s' is not '%s...%s...'", why.text, start, part);
}

static void test_host(void **state)
{
    (void)state;
    accept("\xef\xbb\xbf; a comment\r\n"
           "[node]\r\n"
           "name = pc-1\r\n"
           "role = host\r\n"
           "address = 192.168.1.10/24\r\n"
           "gateway = 192.168.1.1\r\n"
           "console = framebuffer debug\r\n"
           "key = 000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F\r\n"
           "psk = 202122232425262728292a2b2c2d2e2f303132333435363738393A3B3C3D3E3F\r\n"
           "nic = 0001:02:1f.7\r\n"
           "frame = 4000\r\n"
           "# another\r\n"
           "[guest one]\r\n"
           "memory = 1G\r\n"
           "cpus = 4\r\n"
           "kernel = /boot/vmlinuz\r\n"
           "initrd = \\boot\\initrd.img\r\n"
           "module = /m/first a=1  b=2 ; not a comment\r\n"
           "module = /m/second\r\n"
           "cmdline = console=ttyS0,115200 x:y=z ; quiet\r\n"
           "device = disk1/0000:00:04.0\r\n"
           "device = disk1/0000:00:04.1\r\n"
           "nic = 52:54:00:12:34:56  100M\r\n"
           "nic = auto\r\n"
           "wait = 30\r\n"
           "dma = iommu\r\n"
           "bus = ports\r\n"
           "[guest two]\r\n"
           "dma = mirror\r\n"
           "bus = flat\r\n"
           "test-device = on\r\n"
           "kernel = k\r\n"
           "memory = 65536K\r\n"
           "device = disk2/0000:00:04.0\n"
           "[peer disk1]\n"
           "key = " PUBLIC_1 "\n"
           "[peer disk2]\n"
           "key = " PUBLIC_2); // no newline at the end
    const struct boot_node *n = &info.node;
    assert_string_equal(n->name, "pc-1");
    assert_int_equal(n->role, BOOT_ROLE_HOST);
    assert_int_equal(n->dhcp, 0);
    assert_memory_equal(n->address, "\xc0\xa8\x01\x0a", 4);
    assert_memory_equal(n->gateway, "\xc0\xa8\x01\x01", 4);
    assert_int_equal(n->prefix, 24);
    assert_int_equal(n->console_fb, 1);
    assert_int_equal(n->console_serial, 0);
    assert_int_equal(n->verbose, 1);
    assert_int_equal(n->security, BOOT_SECURITY_KEYS);
    for (unsigned i = 0; i < BOOT_KEY_BYTES; i++) {
        assert_int_equal(info.keys.key[i], i);
        assert_int_equal(info.keys.psk[i], 0x20 + i);
        assert_int_equal(info.keys.peers[0].key[i], 0x11);
        assert_int_equal(info.keys.peers[1].key[i], 0x22);
    }
    assert_int_equal(info.keys.peer_count, 2);
    assert_string_equal(info.keys.peers[0].name, "disk1");
    assert_string_equal(info.keys.peers[1].name, "disk2");
    assert_int_equal(n->frame, 4000);
    assert_int_equal(n->nic_set, 1);
    assert_int_equal(n->nic.segment, 1);
    assert_int_equal(n->nic.bus, 2);
    assert_int_equal(n->nic.devfn, 0xff);
    assert_int_equal(info.guest_count, 2);
    const struct boot_guest *g = &info.guests[0];
    assert_string_equal(g->name, "one");
    assert_int_equal(g->memory, 1ull << 30);
    assert_int_equal(g->cpus, 4);
    assert_int_equal(g->wait_s, 30);
    assert_string_equal(g->kernel.path, "/boot/vmlinuz");
    assert_int_equal(g->kernel.ini_line, 16);
    assert_string_equal(g->initrd.path, "\\boot\\initrd.img");
    assert_int_equal(g->module_count, 2);
    assert_string_equal(g->modules[0].path, "/m/first");
    assert_string_equal(g->modules[0].args, "a=1  b=2 ; not a comment");
    assert_string_equal(g->modules[1].path, "/m/second");
    assert_string_equal(g->modules[1].args, "");
    assert_string_equal(g->cmdline, "console=ttyS0,115200 x:y=z ; quiet");
    assert_int_equal(g->device_count, 2);
    assert_string_equal(g->devices[0].node, "disk1");
    assert_int_equal(g->devices[1].at.devfn, 4 << 3 | 1);
    assert_int_equal(g->devices[1].ini_line, 22);
    assert_int_equal(g->nic_count, 2);
    assert_memory_equal(g->nics[0].mac, ((const uint8_t[]){0x52, 0x54, 0, 0x12, 0x34, 0x56}), 6);
    assert_true(g->nics[0].has_mac && g->nics[0].rate == 100000000);
    assert_true(!g->nics[1].has_mac && g->nics[1].rate == 0);
    assert_int_equal(g->dma, BOOT_DMA_IOMMU);
    assert_int_equal(g->bus, BOOT_BUS_PORTS);
    assert_int_equal(info.guests[1].dma, BOOT_DMA_MIRROR);
    assert_int_equal(info.guests[1].bus, BOOT_BUS_FLAT);
    assert_int_equal(g->test_device, 0);
    assert_int_equal(info.guests[1].test_device, 1);
    assert_int_equal(info.guests[1].memory, 64ull << 20);
    assert_int_equal(info.guests[1].cpus, 1);
    assert_int_equal(info.guests[1].wait_s, CONFIG_WAIT_DEFAULT_S);
    assert_string_equal(info.guests[1].devices[0].node, "disk2");
}

static void test_lend_to(void **state)
{
    (void)state;
    accept(REMOTE "security = none\nlend = 0000:00:04.0   to host1\thost-2 h3\nlend = 0000:00:05.0 to to\n");
    assert_int_equal(info.node.lend_count, 2);
    const struct boot_lend *l = info.node.lend;
    assert_int_equal(l[0].at.devfn, 4 << 3);
    assert_int_equal(l[0].ini_line, 5);
    assert_int_equal(l[0].to_count, 3);
    assert_string_equal(l[0].to[0], "host1");
    assert_string_equal(l[0].to[1], "host-2");
    assert_string_equal(l[0].to[2], "h3");
    assert_int_equal(l[1].to_count, 1);
    assert_string_equal(l[1].to[0], "to"); // a name like any other
}

static void test_remote(void **state)
{
    (void)state;
    accept(REMOTE
           "security = none\npeer = 10.0.0.1\nlend = 0000:00:04.0\nlend = 0000:00:05.0\nconsole = serial\n");
    assert_int_equal(info.node.role, BOOT_ROLE_REMOTE);
    assert_int_equal(info.node.dhcp, 1);
    assert_int_equal(info.node.lend_count, 2);
    assert_int_equal(info.node.lend[1].at.devfn, 5 << 3);
    assert_int_equal(info.node.lend[1].to_count, 0);
    assert_memory_equal(info.node.peer, "\x0a\x00\x00\x01", 4);
    assert_int_equal(info.node.console_serial, 1);
    assert_int_equal(info.node.console_fb, 0);
    assert_int_equal(info.node.unsafe_interrupts, 0);
    accept(REMOTE "security = none\nunsafe-interrupts = yes\n");
    assert_int_equal(info.node.unsafe_interrupts, 1);
    accept(REMOTE "security = none\nunsafe-interrupts = no\n");
    assert_int_equal(info.node.unsafe_interrupts, 0);
    accept(REMOTE "security = none\naddress = dhcp\n");
    assert_int_equal(info.node.console_serial, 1);
    assert_int_equal(info.node.console_fb, 1);
    assert_int_equal(info.node.nic_set, 0);
}

static void test_dma_and_bus(void **state)
{
    (void)state;
    accept(HOST GUEST);
    assert_int_equal(info.guests[0].dma, BOOT_DMA_IOMMU);
    assert_int_equal(info.guests[0].bus, BOOT_BUS_PORTS);
    refuse_text(HOST GUEST "dma = all\n", 7, "dma = 'all' is not iommu");
    refuse_text(HOST GUEST "bus = Flat\n", 7, "bus = 'Flat' is not ports");
    refuse_text(HOST GUEST "test-device = yes\n", 7, "test-device = 'yes' is not on or off");
    refuse_text(HOST GUEST "dma = mirror\ndma = iommu\n", 8, "'dma' is given a second time");
    // whichever comes first, and for this guest alone
    refuse_text(HOST "[guest g]\ndma = mirror\nkernel = k\nmemory = 66M\n", 5,
                "guest 'g' can have 64M at most; it has 66M");
    refuse_text(HOST "[guest g]\nmemory = 66M\nkernel = k\ndma = mirror\n[guest h]\n", 7, "it has 66M");
    accept(HOST "[guest g]\nmemory = 1G\nkernel = k\ndma = iommu\n[guest h]\nmemory = 64M\nkernel = k\n"
                "dma = mirror\n");
}

static void test_form(void **state)
{
    (void)state;
    refuse_text("", 0, "no [node] section");
    refuse_text("; only a comment\n", 0, "no [node] section");
    refuse_text(GUEST, 0, "no [node] section");
    refuse_text("name = a\n", 1, "before the first section");
    refuse_text("[node]\nname = a\nnonsense\n", 3, "neither '[section]'");
    refuse_text("[node\n", 1, "neither '[section]'");
    refuse_text("[nodes]\n", 1, "unknown section [nodes]");
    refuse_text(HOST "[guest]\n", 4, "has no name");
    refuse_text(HOST "[guest a b]\n", 4, "is not a name");
    refuse_text(HOST "[guest abcdefghijabcdefghijabcdefghijab]\n", 4, "is not a name");
    refuse_text("[node]\nnmae = a\n", 2, "unknown key 'nmae' in [node]; there are name, role,");
    refuse_text(HOST GUEST "memroy = 1G\n", 7,
                "unknown key 'memroy' in [guest NAME]; there are memory, cpus,");
    refuse_text(HOST "name = b\n", 4, "'name' is given a second time; the first is in line 2");
    refuse_text(HOST "[node]\n", 4, "the first is in line 1");
    refuse_text(HOST GUEST GUEST, 7, "a second [guest g]; the first is in line 4");
    refuse_text("[node]\nname =\n", 2, "nothing stands after 'name ='");
    assert_int_not_equal(parse_bytes("[node]\nname = a\0b\n", 18), OK);
    assert_non_null(strstr(why.text, "line 2: a zero byte"));
    char wide[] = "\xff\xfe[\0n\0o\0d\0e\0]\0";
    assert_int_not_equal(parse_bytes(wide, sizeof wide), OK);
    assert_non_null(strstr(why.text, "line 1: a zero byte"));
}

static void test_missing(void **state)
{
    (void)state;
    refuse_text("[node]\nrole = host\n", 1, "no 'name = NAME' line");
    refuse_text("\n[node]\nname = a\n", 2, "no 'role = host'");
    refuse_text(HOST "[guest g]\nkernel = k\n", 4, "[guest g] has no 'memory = SIZE' line");
    refuse_text(HOST "[guest g]\nmemory = 1G\n[guest h]\n", 4, "[guest g] has no 'kernel = PATH' line");
}

static void test_node_values(void **state)
{
    (void)state;
    static const struct {
        const char *line, *part;
    } bad[] = {
        {"name = a b", "is not a name"},
        {"role = both", "is not a role: host"},
        {"address = 192.168.1.10", "is not an address: dhcp"},
        {"address = 192.168.1.256/24", "is not an address"},
        {"address = 192.168.1.1/31", "is not an address"},
        {"address = 192.168.1.1/0", "is not an address"},
        {"address = 192.168.1.1/24 ; mine", "is not an address"},
        {"address = 224.0.0.1/24", "is not an address"},
        {"address = 127.0.0.1/8", "is not an address"},
        {"address = 192.168.1.0/24", "first address of its network"},
        {"address = 192.168.1.255/24", "broadcast address of its network"},
        {"gateway = 1.2.3", "is not an address like"},
        {"gateway = 192.168.1.1", "'gateway' needs 'address"},
        {"peer = 192.168.1.1.1", "is not the address of a host"},
        {"console = uart", "is not serial, framebuffer or both"},
        {"console = both loud", "is not serial, framebuffer or both"},
        {"key = 00", "key is not 64 hexadecimal digits"},
        {"psk = 000102", "psk is not 64 hexadecimal digits (32 bytes); tools/farbus-keygen makes them"},
        {"security = low", "is not none"},
        {"key = 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1fff", "key is not 64"},
        {"lend = 00:04.0", "is not a PCI address like"},
        {"lend = 0000:00:04.0 for host1", "is not a PCI address like 0000:00:1f.2, and perhaps 'to' and"},
        {"lend = 0000:00:04.0to host1", "is not a PCI address"},
        {"lend = to host1", "is not a PCI address"},
        {"lend = 0000:00:04.0 host1", "is not a PCI address"},
        {"lend = 0000:00:04.0 to", "no name after 'to'; without 'to' it is lent to every host"},
        {"lend = 0000:00:04.0 to host1, host2", "'host1,' after 'to' is not a name"},
        {"lend = 0000:00:04.0 to host1 x/y", "'x/y' after 'to' is not a name"},
        {"lend = 0000:00:04.0 to host1 host2 host1", "'host1' stands twice after 'to'"},
        {"lend = 0000:00:04.0 to b c d e f g h i j", "more than 8 hosts after 'to'"},
        {"lend = 0000:00:04.0 to abcdefghijklmnopqrstuvwxyzabcdef", "is not a name"},
        {"lend = 0000:00:20.0", "is not a PCI address"},
        {"lend = 0000:00:04.8", "is not a PCI address"},
        {"nic = eth0", "is not a PCI address"},
        {"frame = 547", "is not auto, or the largest frame"},
        {"frame = 8973", "is not auto, or the largest frame"},
        {"frame = jumbo", "is not auto, or the largest frame"},
        {"unsafe-interrupts = 1", "is not yes (lend with DMA"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[256];
        bool own = strncmp(bad[i].line, "name", 4) == 0 || strncmp(bad[i].line, "role", 4) == 0;
        snprintf(text, sizeof text, "[node]\n%s\n%s", bad[i].line, own ? "" : "name = a\nrole = remote\n");
        refuse_text(text, 2, bad[i].part);
        assert_null(strstr(why.text, "000102")); // a key is not shown
    }
    refuse_text(HOST "address = 10.0.0.1/24\ngateway = 10.0.1.1\n", 5,
                "10.0.1.1 is not in the network of 10.0.0.1/24");
}

static void test_guest_values(void **state)
{
    (void)state;
    static const struct {
        const char *line, *part;
    } bad[] = {
        {"memory = lots", "'lots' is not a size"},
        {"memory = 64Q", "'64Q' is not a size"},
        {"memory = -1", "is not a size"},
        {"memory = 64 M", "is not a size"},
        {"memory = M", "is not a size"},
        {"memory = 0", "4M to 64G"},
        {"memory = 64", "is 64 bytes"},
        {"memory = 5M", "in steps of 2M"},
        {"memory = 66G", "4M to 64G"},
        {"memory = 2M", "4M to 64G"},
        {"memory = 99999999999T", "is not a size"},
        {"memory = 18446744073709551616", "is not a size"},
        {"cpus = 0", "1 to 8"},
        {"cpus = 9", "1 to 8"},
        {"cpus = two", "is not a number"},
        {"cpus = 4294967297", "is not a number"},
        {"wait = forever", "is not a number of seconds"},
        {"wait = 86401", "is not a number of seconds"},
        {"kernel = caf\xc3\xa9", "is not a path"},
        {"device = 0000:00:04.0", "is not a remote function like"},
        {"device = disk1/0000:00:04", "is not a remote function"},
        {"device = /0000:00:04.0", "is not a remote function"},
        {"device = disk1/0000:00:04.0 x", "is not a remote function"},
        {"nic = a b", "is not auto or an address"},
        {"nic = 53:54:00:12:34:56", "is not auto or an address"}, // a group
        {"nic = 52:54:00:12:34", "is not auto or an address"},
        {"nic = auto 100T", "is not auto or an address"},
        {"nic = auto 7k", "is not auto or an address"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[256];
        snprintf(text, sizeof text, HOST "[guest g]\n%s\n", bad[i].line);
        refuse_text(text, 5, bad[i].part);
    }
}

static void test_devices(void **state)
{
    (void)state;
    refuse_text(HOST GUEST
                "device = d/0000:00:04.0\n[guest h]\nmemory = 4M\nkernel = k\ndevice = d/0000:00:04.0\n",
                11, "device d/0000:00:04.0 is given to guest 'g' already, in line 7");
    refuse_text(HOST GUEST "device = d/0000:00:0a.0\ndevice = d/0000:00:0A.0\n", 8,
                "to guest 'g' already, in line 7");
    refuse_text(REMOTE "lend = 0000:00:04.0\nlend = 0000:00:04.0\n", 5, "stands here twice");
    refuse_text(REMOTE "lend = 0000:00:04.0\nlend = 0000:00:04.0 to h\n", 5,
                "lend = 0000:00:04.0 stands here twice");
}

static void test_roles(void **state)
{
    (void)state;
    refuse_text(REMOTE GUEST, 4, "[guest g], but this node is a remote");
    refuse_text(HOST "lend = 0000:00:04.0\n", 4, "'lend' is for role = remote");
    refuse_text(HOST "unsafe-interrupts = no\n", 4, "'unsafe-interrupts' is for role = remote");
    refuse_text(HOST "peer = 10.0.0.2\n", 4, "'peer' is for role = remote");
    refuse_text(GUEST REMOTE, 1, "this node is a remote"); // whichever comes first
}

static void test_security(void **state)
{
    (void)state;
    accept(HOST GUEST);
    assert_int_equal(info.node.security, BOOT_SECURITY_MISSING);
    accept(HOST "security = none\n" GUEST "device = d/0000:00:04.0\n");
    assert_int_equal(info.node.security, BOOT_SECURITY_NONE);
    accept(REMOTE KEYS "[peer h]\nkey = " PUBLIC_1 "\n");
    assert_int_equal(info.node.security, BOOT_SECURITY_KEYS);
    accept("[peer d]\nkey = " PUBLIC_1 "\n" HOST KEYS GUEST "device = d/0000:00:04.0\n");

    refuse_text(HOST GUEST "device = d/0000:00:04.0\n", 7,
                "a device of node 'd', but [node] has neither 'key' and 'psk' (run tools/farbus-keygen) nor "
                "'security");
    refuse_text(REMOTE, 1, "[node] has neither 'key' and 'psk'");
    refuse_text(HOST KEYS GUEST "device = d/0000:00:04.0\n", 9, "no [peer d] section has its public key");
    accept(REMOTE KEYS "lend = 0000:00:04.0 to h\n[peer h]\nkey = " PUBLIC_1 "\n");
    refuse_text(REMOTE KEYS "lend = 0000:00:04.0\nlend = 0000:00:05.0 to h i\n[peer h]\nkey = " PUBLIC_1 "\n",
                7, "lent to host 'i', but no [peer i] section has its public key");
    refuse_text(REMOTE "security = none\nlend = 0000:00:04.0 to h a\n", 5,
                "'a' after 'to' is this node itself");
    refuse_text(REMOTE KEYS, 1, "no [peer NAME] section: no host could use");
    refuse_text(HOST "key = " PUBLIC_1 "\n", 4, "'key' and 'psk' belong together");
    refuse_text(HOST "psk = " PUBLIC_1 "\n", 4, "'key' and 'psk' belong together");
    refuse_text(HOST KEYS "security = none\n", 4, "a key, but 'security = none' in line 6");
    refuse_text(HOST "[peer d]\nkey = " PUBLIC_1 "\n", 4, "[peer d], but [node] has no 'key' and 'psk'");
    refuse_text(HOST KEYS "[peer a]\nkey = " PUBLIC_1 "\n", 1, "[peer a] is this node itself");
    refuse_text(HOST KEYS "[peer d]\n[guest g]\n", 6, "[peer d] has no 'key = PUBLIC KEY' line");
    refuse_text(HOST KEYS "[peer d]\n", 6, "[peer d] has no 'key = PUBLIC KEY' line");
    refuse_text(HOST KEYS "[peer]\n", 6, "[peer] has no name; write [peer NAME]");
    refuse_text(HOST KEYS "[peer d]\nkey = " PUBLIC_1 "\n[peer d]\n", 8,
                "a second [peer d]; the first is in line 6");
    refuse_text(HOST KEYS "[peer d]\nkey = " PUBLIC_1 "\n[peer e]\nkey = " PUBLIC_1 "\n", 9,
                "[peer d] has the same key, in line 6");
    refuse_text(HOST KEYS "[peer d]\npsk = " PUBLIC_1 "\n", 7,
                "unknown key 'psk' in [peer NAME]; there are key");
}

/// Repeats "line %d" until a limit refuses it.
static void test_limits(void **state)
{
    (void)state;
    static char text[8192];
    size_t n = (size_t)snprintf(text, sizeof text, HOST "security = none\n" GUEST);
    for (int i = 0; i < BOOT_MODULES_MAX; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "module = m%d\ndevice = d/0000:00:0%d.0\n", i, i);
    accept(text);
    size_t full = n;
    n = full + (size_t)snprintf(text + full, sizeof text - full, "module = m9\n");
    refuse_text(text, 7 + 2 * BOOT_MODULES_MAX + 1, "more than 8 'module' lines");
    snprintf(text + full, sizeof text - full, "device = d/0000:00:09.0\n");
    refuse_text(text, 7 + 2 * BOOT_DEVICES_MAX + 1, "more than 8 'device' lines");

    n = (size_t)snprintf(text, sizeof text, REMOTE);
    for (int i = 0; i <= BOOT_DEVICES_MAX; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "lend = 0000:00:0%d.0\n", i);
    refuse_text(text, 3 + BOOT_DEVICES_MAX + 1, "more than 8 'lend' lines");

    n = (size_t)snprintf(text, sizeof text, HOST);
    for (int i = 0; i <= BOOT_GUESTS_MAX; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "[guest g%d]\nmemory=4M\nkernel=k\n", i);
    refuse_text(text, 3 + 3 * BOOT_GUESTS_MAX + 1, "the limit is 8 guests");

    char many[2300];
    memset(many, 'x', sizeof many);
    snprintf(text, sizeof text, HOST GUEST "cmdline = %.*s\n", BOOT_CMDLINE_MAX - 1, many);
    accept(text);
    assert_int_equal(strlen(info.guests[0].cmdline), BOOT_CMDLINE_MAX - 1);
    snprintf(text, sizeof text, HOST GUEST "cmdline = %.*s\n", BOOT_CMDLINE_MAX, many);
    refuse_text(text, 7, "2048 characters; the limit is 2047");
    snprintf(text, sizeof text, HOST "\n; %.*s\n", 2250, many);
    refuse_text(text, 5, "the limit is 2198");
    snprintf(text, sizeof text, HOST GUEST "initrd = %.*s\n", BOOT_PATH_MAX - 1, many);
    accept(text);
    snprintf(text, sizeof text, HOST GUEST "initrd = %.*s\n", BOOT_PATH_MAX, many);
    refuse_text(text, 7, "128 characters; the limit is 127");
    snprintf(text, sizeof text, HOST GUEST "module = m %.*s\n", 256, many);
    refuse_text(text, 7, "256 characters; the limit is 255");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_host),         cmocka_unit_test(test_remote),
        cmocka_unit_test(test_dma_and_bus),  cmocka_unit_test(test_form),
        cmocka_unit_test(test_missing),      cmocka_unit_test(test_node_values),
        cmocka_unit_test(test_guest_values), cmocka_unit_test(test_devices),
        cmocka_unit_test(test_roles),        cmocka_unit_test(test_security),
        cmocka_unit_test(test_limits),       cmocka_unit_test(test_lend_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

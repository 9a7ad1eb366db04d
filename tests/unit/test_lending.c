// SPDX-License-Identifier: BSD-2-Clause
// LINK: remote-fw/lending.c
// What a remote lends of the machines it may find itself in.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four above
#include "remote-fw/lending.h"
#include <cmocka.h>
#include <string.h>

static struct boot_node node;
static struct pci_address nic = {0, 0, 0x10};
static struct boot_pci_address boot = {0, 0, 0xfa};
static struct lending_context context;

static int setup(void **state)
{
    (void)state;
    memset(&node, 0, sizeof node);
    context = (struct lending_context){.node = &node, .nic = &nic};
    return 0;
}

static struct pci_device device(uint8_t devfn, uint16_t vendor, uint8_t class_code, uint8_t subclass)
{
    return (struct pci_device){
        .at = {0, 0, devfn}, .vendor = vendor, .class_code = class_code, .subclass = subclass};
}

static bool lent(struct pci_device dev)
{
    struct lending_decision d = lending_decide(&dev, &context);
    assert_non_null(d.reason);
    return d.lend;
}

static void endpoints_are_lent_chipset_is_kept(void **state)
{
    (void)state;
    assert_true(lent(device(0x20, 0x1b36, 0x01, 0x08)));  // NVMe
    assert_true(lent(device(0x28, 0x1234, 0x00, 0xff)));  // edu
    assert_true(lent(device(0x30, 0x1b36, 0x07, 0x00)));  // PCI serial
    assert_true(lent(device(0x38, 0x8086, 0x02, 0x00)));  // another NIC
    assert_true(lent(device(0x40, 0x1b36, 0x08, 0x05)));  // SD host
    assert_true(lent(device(0x48, 0x1b36, 0x0c, 0x03)));  // USB
    assert_true(lent(device(0x50, 0x1af4, 0x07, 0x80)));  // virtio-serial
    assert_true(lent(device(0xfa, 0x8086, 0x01, 0x06)));  // AHCI nobody started from
    assert_false(lent(device(0x00, 0x8086, 0x06, 0x00))); // host bridge
    assert_false(lent(device(0xf8, 0x8086, 0x06, 0x01))); // LPC
    assert_false(lent(device(0xfb, 0x8086, 0x0c, 0x05))); // SMBus
    assert_false(lent(device(0x08, 0x1234, 0x03, 0x00))); // VGA
    assert_false(lent(device(0xb0, 0x8086, 0x07, 0x80))); // HECI
    assert_false(lent(device(0x58, 0x1022, 0x08, 0x06))); // IOMMU
    assert_false(lent(device(0x60, 0x8086, 0x05, 0x00)));
}

static void what_the_remote_lives_on_is_kept(void **state)
{
    (void)state;
    assert_false(lent(device(0x10, 0x8086, 0x02, 0x00)));
    context.boot_device = &boot;
    assert_false(lent(device(0xfa, 0x8086, 0x01, 0x06)));
    assert_true(lent(device(0xf2, 0x8086, 0x01, 0x06)));
}

static void the_list_is_all_that_is_lent(void **state)
{
    (void)state;
    context.boot_device = &boot;
    node.lend_count = 3;
    node.lend[0].at = (struct boot_pci_address){0, 0, 0xfa}; // the boot disk: told to
    node.lend[1].at = (struct boot_pci_address){0, 0, 0x08}; // VGA: told to
    node.lend[2].at = (struct boot_pci_address){0, 0, 0x10}; // our NIC: not even then
    assert_true(lent(device(0xfa, 0x8086, 0x01, 0x06)));
    assert_true(lent(device(0x08, 0x1234, 0x03, 0x00)));
    assert_false(lent(device(0x10, 0x8086, 0x02, 0x00)));
    assert_false(lent(device(0x20, 0x1b36, 0x01, 0x08)));
    struct pci_device other_segment = device(0xfa, 0x8086, 0x01, 0x06);
    other_segment.at.segment = 1;
    assert_false(lent(other_segment));
}

static void bridges_are_never_lent(void **state)
{
    (void)state;
    node.lend_count = 2;
    node.lend[0].at = (struct boot_pci_address){0, 0, 0xf8};
    node.lend[1].at = (struct boot_pci_address){0, 0, 0x18};
    assert_false(lent(device(0xf8, 0x8086, 0x06, 0x01)));
    struct pci_device port = device(0x18, 0x1b36, 0x06, 0x04);
    port.header_type = 1;
    assert_false(lent(port));
    port.class_code = 0xff; // whatever it calls itself
    assert_false(lent(port));
}

static void who_may_have_it(void **state)
{
    (void)state;
    const struct pci_address at = {0, 0, 0x20}, other = {0, 0, 0x28};
    static struct boot_node n = {
        .lend_count = 2,
        .lend = {{.at = {0, 0, 0x20}, .to_count = 2, .to = {"host1", "host2"}}, {.at = {0, 0, 0x28}}}};
    const struct boot_lend *terms = lending_terms(&n, at);
    assert_ptr_equal(terms, &n.lend[0]);
    assert_true(lending_allows(terms, "host1"));
    assert_true(lending_allows(terms, "host2"));
    assert_false(lending_allows(terms, "host3"));
    assert_false(lending_allows(terms, "host"));
    assert_false(lending_allows(terms, "host11"));
    assert_false(lending_allows(terms, "HOST1"));
    assert_false(lending_allows(terms, ""));
    assert_true(lending_allows(lending_terms(&n, other), "host3")); // to everybody
    assert_null(lending_terms(&n, (struct pci_address){1, 0, 0x20}));
    assert_true(lending_allows(NULL, "anybody"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(endpoints_are_lent_chipset_is_kept, setup),
        cmocka_unit_test_setup(what_the_remote_lives_on_is_kept, setup),
        cmocka_unit_test_setup(the_list_is_all_that_is_lent, setup),
        cmocka_unit_test_setup(bridges_are_never_lent, setup),
        cmocka_unit_test_setup(who_may_have_it, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

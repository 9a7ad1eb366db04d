// SPDX-License-Identifier: BSD-2-Clause
// LINK: drivers/pci_class.c
// What functions are called: as `lspci` does for those that the laboratory lends.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// cmocka needs the four above
#include "drivers/pci_class.h"
#include <cmocka.h>
#include <string.h>

static void names(void **state)
{
    (void)state;
    assert_string_equal(pci_class_name(0x01, 0x08), "Non-Volatile memory controller");
    assert_string_equal(pci_class_name(0x07, 0x00), "Serial controller");
    assert_string_equal(pci_class_name(0x00, 0xff), "Unclassified device");
    assert_string_equal(pci_class_name(0x0c, 0x03), "USB controller");
    assert_string_equal(pci_class_name(0x01, 0x7f), "Mass storage controller"); // by its class alone
    assert_string_equal(pci_class_name(0xfe, 0x00), "Unknown device");
    for (unsigned code = 0; code < 0x10000; code++) { // whatever a remote says
        const char *name = pci_class_name((uint8_t)(code >> 8), (uint8_t)code);
        assert_true(name && strlen(name) > 3 && strlen(name) < 40);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

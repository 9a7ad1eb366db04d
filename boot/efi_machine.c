// SPDX-License-Identifier: BSD-2-Clause
// See efi_machine.h.
#include "boot/efi_machine.h"
#include <string.h>

uint64_t machine_rsdp(const EFI_SYSTEM_TABLE *system)
{
    static const EFI_GUID acpi_20 = ACPI_20_TABLE_GUID;
    for (UINTN i = 0; i < system->NumberOfTableEntries; i++)
        if (memcmp(&system->ConfigurationTable[i].VendorGuid, &acpi_20, sizeof acpi_20) == 0)
            return (uint64_t)system->ConfigurationTable[i].VendorTable;
    return 0;
}

struct boot_framebuffer machine_framebuffer(EFI_BOOT_SERVICES *services)
{
    static EFI_GUID gop_guid = EFI_GRAPHICS_OUTPUT_PROTOCOL_GUID;
    struct boot_framebuffer fb = {.base = 0};
    EFI_GRAPHICS_OUTPUT_PROTOCOL *gop;
    if (EFI_ERROR(services->LocateProtocol(&gop_guid, NULL, (void **)&gop)) || gop->Mode == NULL ||
        gop->Mode->Info == NULL)
        return fb;
    const EFI_GRAPHICS_OUTPUT_MODE_INFORMATION *mode = gop->Mode->Info;
    const EFI_PIXEL_BITMASK *mask = &mode->PixelInformation;
    bool bgr = mode->PixelFormat == PixelBlueGreenRedReserved8BitPerColor ||
               (mode->PixelFormat == PixelBitMask && mask->RedMask == 0xff0000 && mask->GreenMask == 0xff00 &&
                mask->BlueMask == 0xff);
    bool rgb = mode->PixelFormat == PixelRedGreenBlueReserved8BitPerColor ||
               (mode->PixelFormat == PixelBitMask && mask->RedMask == 0xff && mask->GreenMask == 0xff00 &&
                mask->BlueMask == 0xff0000);
    uint64_t size = (uint64_t)mode->PixelsPerScanLine * mode->VerticalResolution * 4;
    if ((!bgr && !rgb) || gop->Mode->FrameBufferBase == 0 || size > gop->Mode->FrameBufferSize)
        return fb;
    fb.base = gop->Mode->FrameBufferBase;
    fb.size = size;
    fb.width = mode->HorizontalResolution;
    fb.height = mode->VerticalResolution;
    fb.pitch_pixels = mode->PixelsPerScanLine;
    fb.format = rgb ? 1 : 0;
    return fb;
}

bool machine_boot_device(EFI_BOOT_SERVICES *services, EFI_HANDLE image, struct boot_pci_address *at)
{
    static EFI_GUID loaded_image_guid = EFI_LOADED_IMAGE_PROTOCOL_GUID;
    static EFI_GUID device_path_guid = EFI_DEVICE_PATH_PROTOCOL_GUID;
    static EFI_GUID pci_io_guid = EFI_PCI_IO_PROTOCOL_GUID;
    EFI_LOADED_IMAGE *loaded;
    EFI_DEVICE_PATH *path;
    EFI_HANDLE controller;
    EFI_PCI_IO_PROTOCOL *pci;
    UINTN segment, bus, device, function;
    // From the partition up the device path to the nearest PCI function.
    if (EFI_ERROR(services->HandleProtocol(image, &loaded_image_guid, (void **)&loaded)) ||
        EFI_ERROR(services->HandleProtocol(loaded->DeviceHandle, &device_path_guid, (void **)&path)) ||
        EFI_ERROR(services->LocateDevicePath(&pci_io_guid, &path, &controller)) ||
        EFI_ERROR(services->HandleProtocol(controller, &pci_io_guid, (void **)&pci)) ||
        EFI_ERROR(pci->GetLocation(pci, &segment, &bus, &device, &function)))
        return false;
    at->segment = (uint16_t)segment;
    at->bus = (uint8_t)bus;
    at->devfn = (uint8_t)(device << 3 | function);
    return true;
}

enum status machine_options(EFI_BOOT_SERVICES *services, EFI_HANDLE image, struct options *options,
                            struct refusal *why)
{
    static EFI_GUID loaded_image_guid = EFI_LOADED_IMAGE_PROTOCOL_GUID;
    EFI_LOADED_IMAGE *loaded;
    if (EFI_ERROR(services->HandleProtocol(image, &loaded_image_guid, (void **)&loaded)))
        return options_read(NULL, 0, options, why);
    return options_read(loaded->LoadOptions, loaded->LoadOptionsSize, options, why);
}

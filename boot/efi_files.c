// SPDX-License-Identifier: BSD-2-Clause
// See efi_files.h.
#include "boot/efi_files.h"
#include "boot/cpu_read.h"
#include "boot/efi_memory.h"
#include "rt/boot_info.h"

static EFI_FILE_HANDLE root;
static uint64_t ticks;

uint64_t files_ticks(void)
{
    return ticks;
}

enum status files_start(EFI_BOOT_SERVICES *services, EFI_HANDLE image, struct refusal *why)
{
    static EFI_GUID loaded_image_guid = EFI_LOADED_IMAGE_PROTOCOL_GUID;
    static EFI_GUID file_system_guid = EFI_SIMPLE_FILE_SYSTEM_PROTOCOL_GUID;
    EFI_LOADED_IMAGE *loaded;
    EFI_FILE_IO_INTERFACE *volume;
    uint64_t from = cpu_tsc();
    EFI_STATUS got = services->HandleProtocol(image, &loaded_image_guid, (void **)&loaded);
    if (!EFI_ERROR(got))
        got = services->HandleProtocol(loaded->DeviceHandle, &file_system_guid, (void **)&volume);
    if (!EFI_ERROR(got))
        got = volume->OpenVolume(volume, &root);
    ticks += cpu_tsc() - from;
    if (EFI_ERROR(got))
        return refuse(
            why, ERR_IO,
            "The volume this loader was started from cannot be opened (status 0x%llx); start it from a FAT "
            "volume (EFI system partition or USB stick).",
            (unsigned long long)got);
    return OK;
}

void files_stop(void)
{
    if (root != NULL)
        (void)root->Close(root);
    root = NULL;
}

void file_close(struct efi_file *file)
{
    if (file->handle != NULL)
        (void)file->handle->Close(file->handle);
    file->handle = NULL;
}

/// The sentence about a file: with the line that names it, when there is one.
#define refuse_file(why, code, ini, line, path, text)                                                        \
    ((ini) != NULL ? refuse_line(why, code, ini, line, "%s: " text, path)                                    \
                   : refuse_line(why, code, path, 0, text))

enum status file_open(struct efi_file *file, const char *path, const char *ini, uint32_t line,
                      struct refusal *why)
{
    static EFI_GUID info_guid = EFI_FILE_INFO_ID;
    static union {
        EFI_FILE_INFO info;
        UINT8 room[sizeof(EFI_FILE_INFO) + 2 * (BOOT_PATH_MAX + 256)];
    } answer;
    CHAR16 wide[BOOT_PATH_MAX + 1];
    unsigned n = 0;
    for (; path[n] != '\0' && n < BOOT_PATH_MAX; n++)
        wide[n] = path[n] == '/' ? u'\\' : (CHAR16)path[n];
    wide[n] = 0;

    uint64_t from = cpu_tsc();
    EFI_STATUS got = root->Open(root, &file->handle, wide, EFI_FILE_MODE_READ, 0);
    if (EFI_ERROR(got)) {
        file->handle = NULL;
    } else {
        UINTN size = sizeof answer;
        got = file->handle->GetInfo(file->handle, &info_guid, &size, &answer);
    }
    ticks += cpu_tsc() - from;

    if (got == EFI_NOT_FOUND)
        return refuse_file(why, ERR_NOTFOUND, ini, line, path, "there is no such file on this volume");
    if (EFI_ERROR(got))
        return refuse_file(why, ERR_IO, ini, line, path, "the file cannot be opened");
    if ((answer.info.Attribute & EFI_FILE_DIRECTORY) != 0)
        return refuse_file(why, ERR_INVAL, ini, line, path, "that is a folder, not a file");
    if (answer.info.FileSize == 0)
        return refuse_file(why, ERR_INVAL, ini, line, path, "the file is empty");
    file->size = answer.info.FileSize;
    return OK;
}

enum status file_read(struct efi_file *file, const char *path, uint64_t *phys, struct refusal *why)
{
    enum status s = memory_pages(file->size, 0, path, phys, why);
    if (s != OK)
        return s;
    UINTN size = file->size;
    uint64_t from = cpu_tsc();
    EFI_STATUS got = file->handle->Read(file->handle, &size, (void *)*phys);
    file_close(file);
    ticks += cpu_tsc() - from;
    if (EFI_ERROR(got) || size != file->size)
        return refuse_line(why, ERR_IO, path, 0, "only %llu of %llu bytes could be read (status 0x%llx)",
                           (unsigned long long)size, (unsigned long long)file->size, (unsigned long long)got);
    return OK;
}

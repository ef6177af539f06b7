/*
 * drive.c - drive C: for drivers that open files: a folder of the host, as the device \Device\NtmmDrive0.
 * SPDX-License-Identifier: MIT
 *
 * A driver in the sense of WDM, linked into the library: \??\C: is a symbolic link to its device, and a create request
 * carries the rest of the name in FileObject->FileName. Names are matched without regard to case, as Windows does, by
 * looking through the folder; a name may not leave the folder. Buffered reads and writes, sizes, deletion; no directory
 * listing, no locks, no sharing checks, no caching. It exists only when the option drive= names a folder. \SystemRoot is a
 * symbolic link to its folder "windows".
 *
 * Invariants:
 *   1. FileObject->FsContext is an OPEN_FILE from a successful create until close.
 *   2. Every path handed to the host starts with the drive's folder and has no ".." component.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>
#include "host/drive.h"
#include "io/iop.h"

#define DRIVE_PATH 4096

/* What all opens of one file share: through it, their sections. */
typedef struct _SHARED_FILE {
    struct _SHARED_FILE *Next;
    dev_t Device;
    ino_t Node;
    unsigned Opens; /* (DriveLock) */
    SECTION_OBJECT_POINTERS Sections;
} SHARED_FILE;
static SHARED_FILE *DriveFiles; /* (DriveLock) */
static pthread_mutex_t DriveLock = PTHREAD_MUTEX_INITIALIZER;

typedef struct _OPEN_FILE {
    SHARED_FILE *Shared;
    int Descriptor;
    BOOLEAN DeleteOnClose;
    char Path[DRIVE_PATH];
} OPEN_FILE;

static char DriveFolder[DRIVE_PATH];
static PDRIVER_OBJECT DriveDriver;

static NTSTATUS DriveStatus(int error)
{
    switch (error) {
    case ENOENT:
        return STATUS_OBJECT_NAME_NOT_FOUND;
    case ENOTDIR:
        return STATUS_OBJECT_PATH_NOT_FOUND;
    case EEXIST:
        return STATUS_OBJECT_NAME_COLLISION;
    case EACCES:
    case EPERM:
    case EROFS:
        return STATUS_ACCESS_DENIED;
    case EISDIR:
        return STATUS_FILE_IS_A_DIRECTORY;
    case ENOSPC:
        return STATUS_DISK_FULL;
    case ENOMEM:
    case EMFILE:
    case ENFILE:
        return STATUS_INSUFFICIENT_RESOURCES;
    default:
        return STATUS_UNSUCCESSFUL;
    }
}

static NTSTATUS DriveComplete(PIRP Irp, NTSTATUS Status, ULONG_PTR Information)
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = Information;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return Status;
}

/* Appends one component to Path, in the spelling that the folder has if it has one. */
static BOOLEAN DriveAppend(char *Path, const char *Component)
{
    size_t length = strlen(Path);
    const char *spelling = Component;
    struct dirent *entry;
    DIR *folder = opendir(Path);
    BOOLEAN fits;

    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        if (strcasecmp(entry->d_name, Component) == 0) {
            spelling = entry->d_name;
            break;
        }
    }
    fits = length + strlen(spelling) + 2 <= DRIVE_PATH;
    if (fits)
        snprintf(Path + length, DRIVE_PATH - length, "/%s", spelling);
    if (folder != NULL)
        closedir(folder);
    return fits;
}

/* "\a\b.tmp" below the drive's folder. Characters outside ASCII are refused. */
static NTSTATUS DrivePath(const UNICODE_STRING *Name, char *Path)
{
    char text[1024];
    char *save = NULL;
    USHORT count = Name->Length / sizeof(WCHAR);

    if (count >= sizeof(text))
        return STATUS_OBJECT_NAME_INVALID;
    for (USHORT index = 0; index < count; index++) {
        if (Name->Buffer[index] >= 0x80 || Name->Buffer[index] < 0x20 || Name->Buffer[index] == '/')
            return STATUS_OBJECT_NAME_INVALID;
        text[index] = (char)Name->Buffer[index];
    }
    text[count] = 0;
    snprintf(Path, DRIVE_PATH, "%s", DriveFolder);
    for (char *part = strtok_r(text, "\\", &save); part != NULL; part = strtok_r(NULL, "\\", &save)) {
        if (strcmp(part, "..") == 0 || !DriveAppend(Path, part))
            return STATUS_OBJECT_NAME_INVALID;
    }
    return STATUS_SUCCESS;
}

static SHARED_FILE *DriveShare(const struct stat *facts)
{
    SHARED_FILE *Shared;
    pthread_mutex_lock(&DriveLock);
    for (Shared = DriveFiles; Shared != NULL; Shared = Shared->Next)
        if (Shared->Device == facts->st_dev && Shared->Node == facts->st_ino)
            break;
    if (Shared == NULL && (Shared = calloc(1, sizeof(*Shared))) != NULL) {
        Shared->Device = facts->st_dev;
        Shared->Node = facts->st_ino;
        Shared->Next = DriveFiles;
        DriveFiles = Shared;
    }
    if (Shared != NULL)
        Shared->Opens++;
    pthread_mutex_unlock(&DriveLock);
    return Shared;
}

static VOID DriveUnshare(SHARED_FILE *Shared)
{
    pthread_mutex_lock(&DriveLock);
    if (--Shared->Opens == 0) {
        SHARED_FILE **Link = &DriveFiles;
        while (*Link != Shared)
            Link = &(*Link)->Next;
        *Link = Shared->Next;
        free(Shared);
    }
    pthread_mutex_unlock(&DriveLock);
}

static NTSTATUS DriveCreate(PDEVICE_OBJECT Device, PIRP Irp)
{
    static const ULONG Results[] = {FILE_SUPERSEDED, FILE_OPENED,      FILE_CREATED,
                                    FILE_OPENED,     FILE_OVERWRITTEN, FILE_OVERWRITTEN};
    PIO_STACK_LOCATION Stack = IoGetCurrentIrpStackLocation(Irp);
    ULONG Options = Stack->Parameters.Create.Options, Disposition = Options >> 24;
    ULONG_PTR Information;
    OPEN_FILE *File;
    struct stat facts;
    NTSTATUS Status;
    int flags = O_RDWR | O_CLOEXEC;
    BOOLEAN exists;

    UNREFERENCED_PARAMETER(Device);
    if (Disposition > FILE_OVERWRITE_IF)
        return DriveComplete(Irp, STATUS_INVALID_PARAMETER, 0);
    File = calloc(1, sizeof(*File));
    if (File == NULL)
        return DriveComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    Status = DrivePath(&Stack->FileObject->FileName, File->Path);
    if (!NT_SUCCESS(Status)) {
        free(File);
        return DriveComplete(Irp, Status, 0);
    }
    exists = stat(File->Path, &facts) == 0;
    Information = Results[Disposition];
    if (!exists && Disposition != FILE_OPEN && Disposition != FILE_OVERWRITE)
        Information = FILE_CREATED;
    if (exists && S_ISDIR(facts.st_mode))
        flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
    if (Disposition == FILE_CREATE)
        flags |= O_CREAT | O_EXCL;
    else if (Disposition == FILE_OPEN_IF)
        flags |= O_CREAT;
    else if (Disposition == FILE_SUPERSEDE || Disposition == FILE_OVERWRITE_IF)
        flags |= O_CREAT | O_TRUNC;
    else if (Disposition == FILE_OVERWRITE)
        flags |= O_TRUNC;
    File->Descriptor = open(File->Path, flags, 0600);
    if (File->Descriptor < 0 && errno == EACCES && Disposition == FILE_OPEN)
        File->Descriptor = open(File->Path, O_RDONLY | O_CLOEXEC);
    if (File->Descriptor < 0) {
        Status = DriveStatus(errno);
        free(File);
        return DriveComplete(Irp, Status, 0);
    }
    File->DeleteOnClose = (Options & FILE_DELETE_ON_CLOSE) != 0;
    File->Shared = fstat(File->Descriptor, &facts) == 0 ? DriveShare(&facts) : NULL;
    if (File->Shared == NULL) {
        close(File->Descriptor);
        free(File);
        return DriveComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    }
    Stack->FileObject->SectionObjectPointer = &File->Shared->Sections;
    Stack->FileObject->FsContext = File;
    return DriveComplete(Irp, STATUS_SUCCESS, Information);
}

static NTSTATUS DriveCleanup(PDEVICE_OBJECT Device, PIRP Irp)
{
    UNREFERENCED_PARAMETER(Device);
    return DriveComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS DriveClose(PDEVICE_OBJECT Device, PIRP Irp)
{
    PFILE_OBJECT Object = IoGetCurrentIrpStackLocation(Irp)->FileObject;
    OPEN_FILE *File = Object->FsContext;

    UNREFERENCED_PARAMETER(Device);
    if (File != NULL) {
        close(File->Descriptor);
        DriveUnshare(File->Shared);
        Object->SectionObjectPointer = NULL;
        if (File->DeleteOnClose)
            unlink(File->Path);
        free(File);
        Object->FsContext = NULL;
    }
    return DriveComplete(Irp, STATUS_SUCCESS, 0);
}

static NTSTATUS DriveReadWrite(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION Stack = IoGetCurrentIrpStackLocation(Irp);
    BOOLEAN Write = Stack->MajorFunction == IRP_MJ_WRITE;
    PFILE_OBJECT Object = Stack->FileObject;
    OPEN_FILE *File = Object->FsContext;
    ULONG Length = Write ? Stack->Parameters.Write.Length : Stack->Parameters.Read.Length;
    LONGLONG Offset = Write ? Stack->Parameters.Write.ByteOffset.QuadPart : Stack->Parameters.Read.ByteOffset.QuadPart;
    PVOID Buffer = Irp->AssociatedIrp.SystemBuffer;
    char *bounce;
    ssize_t done;

    UNREFERENCED_PARAMETER(Device);
    if (Length == 0)
        return DriveComplete(Irp, STATUS_SUCCESS, 0);
    if (Offset == -1)
        Offset = Object->CurrentByteOffset.QuadPart;
    if (Offset < 0)
        return DriveComplete(Irp, STATUS_INVALID_PARAMETER, 0);
    bounce = malloc(Length); /* the host's kernel does not fault for us: it is given host memory */
    if (bounce == NULL)
        return DriveComplete(Irp, STATUS_INSUFFICIENT_RESOURCES, 0);
    if (Write) {
        memcpy(bounce, Buffer, Length);
        done = pwrite(File->Descriptor, bounce, Length, Offset);
    } else {
        done = pread(File->Descriptor, bounce, Length, Offset);
        if (done > 0)
            memcpy(Buffer, bounce, (size_t)done);
    }
    free(bounce);
    if (done < 0)
        return DriveComplete(Irp, DriveStatus(errno), 0);
    if (!(Irp->Flags & IRP_PAGING_IO))
        Object->CurrentByteOffset.QuadPart = Offset + done;
    return DriveComplete(Irp, done == 0 ? STATUS_END_OF_FILE : STATUS_SUCCESS, (ULONG_PTR)done);
}

static NTSTATUS DriveQuery(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION Stack = IoGetCurrentIrpStackLocation(Irp);
    OPEN_FILE *File = Stack->FileObject->FsContext;
    PFILE_STANDARD_INFORMATION Standard = Irp->AssociatedIrp.SystemBuffer;
    PFILE_POSITION_INFORMATION Position = Irp->AssociatedIrp.SystemBuffer;
    struct stat facts;

    UNREFERENCED_PARAMETER(Device);
    if (fstat(File->Descriptor, &facts) != 0)
        return DriveComplete(Irp, DriveStatus(errno), 0);
    switch (Stack->Parameters.QueryFile.FileInformationClass) {
    case FileStandardInformation:
        if (Stack->Parameters.QueryFile.Length < sizeof(*Standard))
            return DriveComplete(Irp, STATUS_INFO_LENGTH_MISMATCH, 0);
        Standard->AllocationSize.QuadPart = (LONGLONG)facts.st_blocks * 512;
        Standard->EndOfFile.QuadPart = facts.st_size;
        Standard->NumberOfLinks = (ULONG)facts.st_nlink;
        Standard->DeletePending = File->DeleteOnClose;
        Standard->Directory = S_ISDIR(facts.st_mode);
        return DriveComplete(Irp, STATUS_SUCCESS, sizeof(*Standard));
    case FilePositionInformation:
        if (Stack->Parameters.QueryFile.Length < sizeof(*Position))
            return DriveComplete(Irp, STATUS_INFO_LENGTH_MISMATCH, 0);
        Position->CurrentByteOffset = Stack->FileObject->CurrentByteOffset;
        return DriveComplete(Irp, STATUS_SUCCESS, sizeof(*Position));
    default:
        return DriveComplete(Irp, STATUS_INVALID_INFO_CLASS, 0);
    }
}

/* The end of the file moves. */
static NTSTATUS DriveSet(PDEVICE_OBJECT Device, PIRP Irp)
{
    PIO_STACK_LOCATION Stack = IoGetCurrentIrpStackLocation(Irp);
    OPEN_FILE *File = Stack->FileObject->FsContext;
    PFILE_END_OF_FILE_INFORMATION End = Irp->AssociatedIrp.SystemBuffer;

    UNREFERENCED_PARAMETER(Device);
    if (Stack->Parameters.SetFile.FileInformationClass != FileEndOfFileInformation)
        return DriveComplete(Irp, STATUS_INVALID_INFO_CLASS, 0);
    if (Stack->Parameters.SetFile.Length < sizeof(*End))
        return DriveComplete(Irp, STATUS_INFO_LENGTH_MISMATCH, 0);
    if (End->EndOfFile.QuadPart < 0)
        return DriveComplete(Irp, STATUS_INVALID_PARAMETER, 0);
    return DriveComplete(Irp, ftruncate(File->Descriptor, End->EndOfFile.QuadPart) == 0 ? STATUS_SUCCESS : DriveStatus(errno),
                         0);
}

static VOID DriveUnload(PDRIVER_OBJECT Driver)
{
    UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\DosDevices\\C:"), Root = RTL_CONSTANT_STRING(L"\\SystemRoot");

    IoDeleteSymbolicLink(&Root);
    IoDeleteSymbolicLink(&Link);
    IoDeleteDevice(Driver->DeviceObject);
}

static NTSTATUS DriveEntry(PDRIVER_OBJECT Driver, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING Name = RTL_CONSTANT_STRING(L"\\Device\\NtmmDrive0");
    UNICODE_STRING Link = RTL_CONSTANT_STRING(L"\\DosDevices\\C:"), Root = RTL_CONSTANT_STRING(L"\\SystemRoot");
    UNICODE_STRING Windows = RTL_CONSTANT_STRING(L"\\Device\\NtmmDrive0\\windows");
    PDEVICE_OBJECT Device;
    NTSTATUS Status;

    UNREFERENCED_PARAMETER(RegistryPath);
    Status = IoCreateDevice(Driver, 0, &Name, FILE_DEVICE_DISK_FILE_SYSTEM, 0, FALSE, &Device);
    if (!NT_SUCCESS(Status))
        return Status;
    Status = IoCreateSymbolicLink(&Link, &Name);
    if (NT_SUCCESS(Status)) {
        Status = IoCreateSymbolicLink(&Root, &Windows);
        if (!NT_SUCCESS(Status))
            IoDeleteSymbolicLink(&Link);
    }
    if (!NT_SUCCESS(Status)) {
        IoDeleteDevice(Device);
        return Status;
    }
    Driver->MajorFunction[IRP_MJ_CREATE] = DriveCreate;
    Driver->MajorFunction[IRP_MJ_CLEANUP] = DriveCleanup;
    Driver->MajorFunction[IRP_MJ_CLOSE] = DriveClose;
    Driver->MajorFunction[IRP_MJ_READ] = DriveReadWrite;
    Driver->MajorFunction[IRP_MJ_WRITE] = DriveReadWrite;
    Driver->MajorFunction[IRP_MJ_QUERY_INFORMATION] = DriveQuery;
    Driver->MajorFunction[IRP_MJ_SET_INFORMATION] = DriveSet;
    Driver->DriverUnload = DriveUnload;
    Device->Flags |= DO_BUFFERED_IO;
    Device->Flags &= ~(ULONG)DO_DEVICE_INITIALIZING;
    return STATUS_SUCCESS;
}

const char *NtmmpDriveCopy;

NTSTATUS NtmmpMountDrive(const char *Folder)
{
    const IOP_DRIVER_PARAMETERS Parameters = {.Name = "ntmm_drive", .Entry = DriveEntry};
    BOOLEAN Called;
    struct stat facts;

    if (DriveDriver != NULL)
        return STATUS_OBJECT_NAME_COLLISION;
    if (strlen(Folder) + 2 > sizeof(DriveFolder) || stat(Folder, &facts) != 0 || !S_ISDIR(facts.st_mode))
        return STATUS_OBJECT_PATH_NOT_FOUND;
    if (NtmmpDriveCopy != NULL) {
        if (strlen(NtmmpDriveCopy) + 2 > sizeof(DriveFolder) || NtmmpCopyFolder(Folder, NtmmpDriveCopy) != 0)
            return STATUS_OBJECT_PATH_NOT_FOUND;
        Folder = NtmmpDriveCopy;
    }
    snprintf(DriveFolder, sizeof(DriveFolder), "%s", Folder);
    return IopCreateDriver(&Parameters, &DriveDriver, &Called);
}

VOID NtmmpUnmountDrive(VOID)
{
    IOP_LEFTOVERS Left;

    if (DriveDriver != NULL)
        IopUnloadDriver(DriveDriver, &Left);
    DriveDriver = NULL;
}

/*
 * share.c - share access: who has a file open for what, and who else may. SPDX-License-Identifier: MIT
 *
 * Implements IoCheckShareAccess, IoSetShareAccess, IoUpdateShareAccess, IoRemoveShareAccess. The caller serialises them per
 * SHARE_ACCESS, as file systems do with their own resource. IRQL = PASSIVE_LEVEL.
 *
 * A new opener is refused if it wants an access that an earlier one does not share, or does not share an access that an
 * earlier one has:   wanted and Shared < OpenCount,   or   not shared and users > 0.
 */
#include "io/iopp.h"

static VOID IopSetFileAccess(PFILE_OBJECT File, ACCESS_MASK Access, ULONG Share)
{
    File->ReadAccess = (Access & (FILE_EXECUTE | FILE_READ_DATA)) != 0;
    File->WriteAccess = (Access & (FILE_WRITE_DATA | FILE_APPEND_DATA)) != 0;
    File->DeleteAccess = (Access & DELETE) != 0;
    BOOLEAN Any = File->ReadAccess || File->WriteAccess || File->DeleteAccess;
    File->SharedRead = Any && (Share & FILE_SHARE_READ) != 0;
    File->SharedWrite = Any && (Share & FILE_SHARE_WRITE) != 0;
    File->SharedDelete = Any && (Share & FILE_SHARE_DELETE) != 0;
}

static BOOLEAN IopCounts(PFILE_OBJECT File)
{
    return File->ReadAccess || File->WriteAccess || File->DeleteAccess;
}

VOID IoUpdateShareAccess(PFILE_OBJECT FileObject, PSHARE_ACCESS ShareAccess)
{
    if (!IopCounts(FileObject))
        return;
    ShareAccess->OpenCount++;
    ShareAccess->Readers += FileObject->ReadAccess;
    ShareAccess->Writers += FileObject->WriteAccess;
    ShareAccess->Deleters += FileObject->DeleteAccess;
    ShareAccess->SharedRead += FileObject->SharedRead;
    ShareAccess->SharedWrite += FileObject->SharedWrite;
    ShareAccess->SharedDelete += FileObject->SharedDelete;
}

VOID IoRemoveShareAccess(PFILE_OBJECT FileObject, PSHARE_ACCESS ShareAccess)
{
    if (!IopCounts(FileObject))
        return;
    ShareAccess->OpenCount--;
    ShareAccess->Readers -= FileObject->ReadAccess;
    ShareAccess->Writers -= FileObject->WriteAccess;
    ShareAccess->Deleters -= FileObject->DeleteAccess;
    ShareAccess->SharedRead -= FileObject->SharedRead;
    ShareAccess->SharedWrite -= FileObject->SharedWrite;
    ShareAccess->SharedDelete -= FileObject->SharedDelete;
}

VOID IoSetShareAccess(ACCESS_MASK DesiredAccess, ULONG DesiredShareAccess, PFILE_OBJECT FileObject, PSHARE_ACCESS ShareAccess)
{
    IopSetFileAccess(FileObject, DesiredAccess, DesiredShareAccess);
    memset(ShareAccess, 0, sizeof *ShareAccess);
    IoUpdateShareAccess(FileObject, ShareAccess);
}

NTSTATUS IoCheckShareAccess(ACCESS_MASK DesiredAccess, ULONG DesiredShareAccess, PFILE_OBJECT FileObject,
                            PSHARE_ACCESS ShareAccess, BOOLEAN Update)
{
    ULONG Opens = ShareAccess->OpenCount;
    IopSetFileAccess(FileObject, DesiredAccess, DesiredShareAccess);
    if (IopCounts(FileObject)) {
        if ((FileObject->ReadAccess && ShareAccess->SharedRead < Opens) ||
            (FileObject->WriteAccess && ShareAccess->SharedWrite < Opens) ||
            (FileObject->DeleteAccess && ShareAccess->SharedDelete < Opens) ||
            (ShareAccess->Readers && !FileObject->SharedRead) || (ShareAccess->Writers && !FileObject->SharedWrite) ||
            (ShareAccess->Deleters && !FileObject->SharedDelete))
            return STATUS_SHARING_VIOLATION;
    }
    if (Update)
        IoUpdateShareAccess(FileObject, ShareAccess);
    return STATUS_SUCCESS;
}

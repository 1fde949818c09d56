#ifndef MARTLET_CLINUX_H
#define MARTLET_CLINUX_H
// Linux calls that the Glibc module of Swift does not show.
#include <stdint.h>

/// fallocate(2) with FALLOC_FL_KEEP_SIZE. Returns 0 or an errno value.
int martlet_reserve_extent(int descriptor, int64_t offset, int64_t length);

/// Locks a whole file for writing, for as long as this open file description lives (F_OFD_SETLK). Excludes locks by fcntl(2) of
/// other processes, such as those that Java takes. Returns 0 or an errno value.
int martlet_lock_file(int descriptor);

/// Lets a lock of martlet_lock_file go. Closing the descriptor does so too, but not while a child process that is being started still
/// holds a copy of it.
void martlet_unlock_file(int descriptor);

/// syncfs(2): waits until everything written to the descriptor's file system is on the disk. Returns 0 or an errno value.
int martlet_sync_file_system(int descriptor);

/// Whether a range of a file can be read without waiting for the disk, as far as a few samples tell (preadv2(2) with RWF_NOWAIT).
/// Returns 1 also where the file system cannot say.
int martlet_is_in_memory(int descriptor, int64_t offset, int64_t length);

/// Room for the name of a congestion control algorithm, terminating zero included.
#define MARTLET_CONGESTION_CONTROL_ROOM 16

/// The congestion control algorithm of a TCP socket (TCP_CONGESTION). Returns 0 or an errno value.
int martlet_congestion_control(int descriptor, char *name);

/// Chooses the congestion control algorithm of a TCP socket. Returns 0 or an errno value.
int martlet_choose_congestion_control(int descriptor, const char *name);

/// Has this process get SIGTERM when the thread that started it ends, also when that was killed; ends it when that has happened
/// already.
void martlet_end_with_parent(void);

/// Keeps a descriptor from programs that this process starts.
void martlet_close_on_exec(int descriptor);
#endif

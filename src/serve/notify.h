/* notify.h - word to the service manager (systemd's sd_notify protocol, sd_notify(3)).
 *
 * The protocol is one datagram of NAME=VALUE lines to the unix socket named by $NOTIFY_SOCKET ("@"
 * begins an abstract name); without the variable there is nobody to tell and nothing happens.  It
 * is documented as stable and takes these few lines, so libsystemd is not needed. */
#ifndef CAM_SERVE_NOTIFY_H
#define CAM_SERVE_NOTIFY_H

/* Sends STATE ("READY=1", "STATUS=...\nREADY=1"); never fails, waits a second at most. */
void cam_notify(const char *state);

/* "WATCHDOG=1", if the manager asked for it ($WATCHDOG_USEC) and half of its time has passed since
 * the last one.  Call it from the loop that must not hang. */
void cam_notify_beat(void);

#endif

/* written next */ typedef int depthd_shm_placeholder;

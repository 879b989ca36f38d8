"""Looking ahead: what becomes of what runs if hosts go or come, and what had better be moved. Changes nothing."""

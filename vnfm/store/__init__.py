"""Durable state: SQLAlchemy tables, migrations by Alembic, one writer thread. SQLite by default."""
